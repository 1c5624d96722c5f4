"""Seals of moments (PURE): by them a replica knows that what a sidecar says it has seen comes from an operator.

A sidecar repeats the moment of its configuration in each poll. A replica that has seen less must not answer it with something
older, and where even the API server has seen less, etcd was restored. So a moment that a pod makes up could hold back its own
configurations, and a word of it could be taken for a restore. Replicas therefore seal moments with a key that they share and no
pod has (HMAC-SHA-256, RFC 2104), and pass over what is not sealed.

Keys overlap: a new one is announced before it seals, and the former one is recognised until the next change.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from tidegate_policy.envelope import AsOf

LIFE_S: Final = 30 * 86_400
"""How long a key seals."""

ANNOUNCED_S: Final = 3_600
"""How long a new key is recognised before it seals: every replica reads the Secret within minutes."""

KEY_BYTES: Final = 32

_CONTEXT: Final = b"tidegate moment 1\n"
"""What is sealed with this key is a moment, and nothing else."""

_SEALING, _NEXT, _FORMER, _SINCE = "sealing", "next", "former", "since"
_NAME_CHARS: Final = 8


@dataclass(frozen=True, slots=True)
class Seals:
    """The keys of one moment. Its repr shows nothing of them.

    Attributes:
        sealing: the key that seals.
        others: keys that are recognised as well.
    """

    sealing: bytes
    others: tuple[bytes, ...] = ()

    def __repr__(self) -> str:
        return f"Seals({1 + len(self.others)} keys, hidden)"

    def sealed(self, as_of: AsOf) -> AsOf:
        """The moment with its seal."""
        return replace(as_of, seal=f"{_name(self.sealing)}.{_seal(self.sealing, as_of)}")

    def is_genuine(self, as_of: AsOf) -> bool:
        """Whether an operator has sealed the moment."""
        name, _, seal = as_of.seal.partition(".")
        return any(
            hmac.compare_digest(seal.encode(errors="replace"), _seal(key, as_of).encode())
            for key in (self.sealing, *self.others)
            if name == _name(key)
        )


def read_seals(data: Mapping[str, bytes]) -> Seals | None:
    """The keys in the Secret's data; None where there is none that can be used."""
    keys = [data[name] for name in (_SEALING, _NEXT, _FORMER) if len(data.get(name, b"")) == KEY_BYTES]
    return Seals(keys[0], tuple(keys[1:])) if keys and _SEALING in data else None


def next_keys(
    data: Mapping[str, bytes], now_s: int, new_key: Callable[[], bytes]
) -> Mapping[str, bytes] | None:
    """What the Secret is to hold from now on; None: it holds that.

    Args:
        data: of the Secret; empty where there is none.
        now_s: seconds since 1970.
        new_key: makes one.
    """
    if read_seals(data) is None:
        return {_SEALING: new_key(), _SINCE: str(now_s).encode()}
    since = data.get(_SINCE, b"")
    age_s = now_s - int(since) if since.isdigit() else LIFE_S
    if _NEXT not in data:
        # The time of the announcement is not written: a key that has sealed for its life and an hour hands over.
        return {**data, _NEXT: new_key(), _SINCE: str(now_s - LIFE_S).encode()} if age_s >= LIFE_S else None
    if age_s < LIFE_S + ANNOUNCED_S:
        return None
    return {_SEALING: data[_NEXT], _FORMER: data[_SEALING], _SINCE: str(now_s).encode()}


def _name(key: bytes) -> str:
    return hashlib.sha256(key).hexdigest()[:_NAME_CHARS]


def _seal(key: bytes, as_of: AsOf) -> str:
    # Epoch and versions alone: what a later release adds to a moment, a former one and its sidecars pass over.
    content = json.dumps([as_of.epoch, as_of.versions]).encode()
    return hmac.new(key, _CONTEXT + content, hashlib.sha256).hexdigest()
