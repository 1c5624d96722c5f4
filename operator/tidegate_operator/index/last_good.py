"""The last valid form of each object, for the time in which its newest one is not valid.

A form is known by the object's uid and generation, so a deleted and recreated object never gets the old one's, and of
two forms the one with the higher generation holds, whoever saw it. The holder of the Lease persists the forms; every
replica reads them, so that one which started a minute ago compiles the same as one which saw everything. Pure.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

from tidegate_operator.api.earlier import in_new_words
from tidegate_operator.api.kinds import API_VERSION
from tidegate_operator.api.parse import parse_object
from tidegate_operator.api.stored import Stored
from tidegate_policy.model import ObjectRef

SHARDS: Final = 8
"""Parts that the forms are persisted in: an object of the API server holds 1 MiB, and a change rewrites one part."""

MAX_SHARD_BYTES: Final = 900_000
"""Of one part; what does not fit is left out, the largest forms first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GoodForm:
    """A valid form.

    Attributes:
        kind: of the object.
        generation: of the object when it had this form.
        text: the spec as JSON, with sorted keys.
    """

    kind: str
    generation: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """One part as it is persisted: uid to form, and the uids whose forms did not fit."""

    data: Mapping[str, str]
    left_out: tuple[str, ...] = ()


class LastGood:
    """Forms by uid."""

    def __init__(self) -> None:
        """Nothing is known yet."""
        self._forms: dict[str, GoodForm] = {}
        self._parsed: dict[str, tuple[GoodForm, Stored[Any] | None]] = {}

    def __repr__(self) -> str:
        return f"<LastGood {len(self._forms)}>"

    def __len__(self) -> int:
        return len(self._forms)

    def remember(
        self, ref: ObjectRef, uid: str, generation: int, spec: Mapping[str, Any], stored: Stored[Any]
    ) -> None:
        """Keep a form that was parsed without a problem."""
        known = self._forms.get(uid)
        if known is None or known.generation < generation:
            form = GoodForm(kind=ref.kind, generation=generation, text=_canonical(spec))
            self._forms[uid] = form
            self._parsed[uid] = (form, stored)

    def forget(self, uid: str) -> None:
        """The object is gone."""
        self._forms.pop(uid, None)
        self._parsed.pop(uid, None)

    def form(self, ref: ObjectRef, uid: str) -> Stored[Any] | None:
        """The last good form of an object; None when there is none that this release can read."""
        form = self._forms.get(uid)
        if form is None or form.kind != ref.kind:
            return None
        parsed = self._parsed.get(uid)
        if parsed is None or parsed[0] is not form:
            parsed = (form, _parse(ref, form))
            self._parsed[uid] = parsed
        return parsed[1]

    def read(self, data: Mapping[str, str]) -> bool:
        """Take in persisted forms; whether one of them is newer than what was known. What is damaged is skipped."""
        is_news = False
        for uid, text in data.items():
            form = _decode(text)
            known = self._forms.get(uid)
            if form is not None and (known is None or known.generation < form.generation):
                self._forms[uid] = form
                is_news = True
        return is_news

    def keep(self, uids: Collection[str]) -> None:
        """Forget the forms of all objects but these."""
        for uid in [known for known in self._forms if known not in uids]:
            self.forget(uid)

    def shard(self, number: int) -> Shard:
        """One part, as it should be persisted."""
        part = {uid: _encode(form) for uid, form in self._forms.items() if shard_of(uid) == number}
        return _bounded(part)


def shard_of(uid: str) -> int:
    """Which part an object's form is in."""
    return zlib.crc32(uid.encode()) % SHARDS


def _bounded(part: dict[str, str]) -> Shard:
    total = sum(len(uid) + len(text.encode()) for uid, text in part.items())
    left_out = []
    for uid in sorted(part, key=lambda uid: (-len(part[uid]), uid)):
        if total <= MAX_SHARD_BYTES:
            break
        total -= len(uid) + len(part[uid].encode())
        left_out.append(uid)
    return Shard(
        data={uid: part[uid] for uid in sorted(part) if uid not in left_out}, left_out=tuple(sorted(left_out))
    )


def _encode(form: GoodForm) -> str:
    return f"{form.kind} {form.generation} {form.text}"


def _decode(text: str) -> GoodForm | None:
    kind, _, rest = text.partition(" ")
    generation, _, spec = rest.partition(" ")
    if not kind or not generation.isascii() or not generation.isdigit() or not spec:
        return None
    return GoodForm(kind=kind, generation=int(generation), text=spec)


def _parse(ref: ObjectRef, form: GoodForm) -> Stored[Any] | None:
    try:
        spec = json.loads(form.text)
    except ValueError:
        return None
    in_new_words(form.kind, spec)
    metadata: dict[str, Any] = {"name": ref.name, "generation": form.generation}
    if ref.namespace:
        metadata["namespace"] = ref.namespace
    # An upgrade may bring stricter rules: what ran before them runs on, until somebody changes the object.
    stored = parse_object(
        {"apiVersion": API_VERSION, "kind": ref.kind, "metadata": metadata, "spec": spec}, is_settled=True
    ).stored
    return stored if stored is not None and stored.spec is not None else None


def _canonical(spec: Mapping[str, Any]) -> str:
    return json.dumps(spec, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
