"""What the control plane hands a sidecar: a configuration, who the sidecar is, and of what moment both are.

An `Envelope` is whole: it replaces the one before it. Its parts change at different times, so its name, the `Tag`, has
two halves: the digest of the configuration, which is what a sidecar acknowledges, and a generation of all the rest.
One schema version, the configuration's own, covers the envelope and everything in it.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from tidegate_policy import wire
from tidegate_policy.errors import DecodeError, SchemaVersionError
from tidegate_policy.model import ADDED, SUPPORTED_SCHEMA_VERSIONS, CompiledConfig, WorkloadIdentity

MAX_ENVELOPE_BYTES: Final = 16 * 2**20
"""Nobody sends or reads a longer one."""

NO_GENERATION: Final = "0"
"""Second half of the tag of a sidecar that has a configuration and lacks the rest, as after a start from disk."""

_TAG: Final = re.compile(r'"?([0-9a-f]{64})-([0-9a-f]{1,64})"?')


@dataclass(frozen=True, slots=True, kw_only=True)
class AsOf:
    """The moment of the cluster that something was computed from. A partial order: two can be behind each other.

    Attributes:
        epoch: raised by the control plane when versions fall (etcd was restored); a higher one wins over all versions.
        versions: for each kind that the author watches the newest resourceVersion seen, sorted. A kind that is not there
            is one that the author knows nothing of, as a release before the one that brought it.
        seal: by which operators know their own word; to others it says nothing, and they give it back as it is.
    """

    epoch: int = 0
    versions: tuple[tuple[str, int], ...] = ()
    seal: str = field(default="", compare=False, metadata={ADDED: True})

    @classmethod
    def of(cls, epoch: int, versions: Mapping[str, int]) -> AsOf:
        """From a mapping, in the order that the wire wants."""
        return cls(epoch=epoch, versions=tuple(sorted(versions.items())))

    def is_behind(self, other: AsOf) -> bool:
        """Whether `other` has seen something that this has not: following it up with this would be a step back."""
        return bool(self.lacks(other))

    def lacks(self, other: AsOf) -> str:
        """What this has not seen and `other` has, in words for a log; empty when nothing.

        Compared are the kinds that the author of this watches: of others it can never see anything, and would be behind
        for ever.
        """
        if self.epoch != other.epoch:
            return f"epoch {self.epoch} < {other.epoch}" if self.epoch < other.epoch else ""
        theirs = dict(other.versions)
        return ", ".join(
            f"{kind} {version} < {theirs[kind]}"
            for kind, version in self.versions
            if version < theirs.get(kind, 0)
        )

    def unwatched(self, other: AsOf) -> frozenset[str]:
        """The kinds that `other` has seen and the author of this does not watch: those of a newer release."""
        return frozenset(kind for kind, _ in other.versions) - frozenset(kind for kind, _ in self.versions)


@dataclass(frozen=True, slots=True, kw_only=True)
class Secrets:
    """What must stay in memory: never in a configuration, on disk, in a log or on /config. Its repr shows nothing.

    Attributes:
        generation: names the content without telling anything about it, e.g. the resourceVersion of its origin.
    """

    generation: str = ""

    def __repr__(self) -> str:
        return f"Secrets(generation={self.generation!r}, hidden)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """Everything a sidecar is told, in one value.

    Attributes:
        trust: PEM of all authorities that may sign the control plane's certificate, now and next.
    """

    config: CompiledConfig
    identity: WorkloadIdentity
    secrets: Secrets = field(default=Secrets())
    as_of: AsOf = field(default=AsOf())
    trust: str = ""

    def without_secrets(self) -> Envelope:
        """The part that may be kept on disk."""
        return replace(self, secrets=Secrets())


@dataclass(frozen=True, slots=True)
class Tag:
    """The name of an envelope, as ETag and If-None-Match carry it: `digest` is what an acknowledgement names."""

    digest: str
    generation: str

    def __str__(self) -> str:
        return f'"{self.digest}-{self.generation}"'

    @classmethod
    def parse(cls, text: str) -> Tag:
        """The tag in a header.

        Raises:
            DecodeError: it is not a tag of ours.
        """
        match = _TAG.fullmatch(text)
        if match is None:
            raise DecodeError(
                "", f"{text[:100]!r} is not a tag; expected a SHA-256 in hex, a dash and a generation"
            )
        return cls(match[1], match[2])


def generation_of(identity: WorkloadIdentity, secrets: Secrets, trust: str) -> str:
    """Second half of a tag: equal on every replica that would send the same, and it tells nothing of the secrets."""
    parts = (wire.encode(identity), secrets.generation.encode(), trust.encode())
    total = hashlib.sha256()
    for part in parts:
        total.update(hashlib.sha256(part).digest())
    return total.hexdigest()[:16]


def seal(config: bytes, *, identity: WorkloadIdentity, secrets: Secrets, as_of: AsOf, trust: str) -> bytes:
    """The canonical bytes of an `Envelope` around a configuration that is encoded already.

    A configuration is encoded once and sent to every pod of its class; only the rest is the pod's own.
    """
    return b"".join(
        (
            b'{"as_of":',
            wire.encode(as_of),
            b',"config":',
            config,
            b',"identity":',
            wire.encode(identity),
            b',"secrets":',
            wire.encode(secrets),
            b',"trust":',
            json.dumps(trust, ensure_ascii=False).encode(),
            b"}",
        )
    )


def decode_envelope(data: bytes, on_unknown: Callable[[str], None] = lambda _: None) -> tuple[Envelope, str]:
    """Read an envelope, and the digest of its configuration as it was written.

    Its moment is a message: what a later release adds to it is passed over and told to `on_unknown`. All else is strict. The digest is that of the document, not of what was read from it: a writer one release older has fewer fields, and
    still both sides must call its configuration by the same name.

    Raises:
        SchemaVersionError: the version is not one of `SUPPORTED_SCHEMA_VERSIONS`; seen before anything else.
        DecodeError: anything else that is wrong, with its path.
    """
    if len(data) > MAX_ENVELOPE_BYTES:
        raise DecodeError("", f"longer than {MAX_ENVELOPE_BYTES} bytes")
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise DecodeError("", f"not JSON: {error}") from error
    config = document.get("config") if isinstance(document, dict) else None
    if not isinstance(config, dict):
        raise DecodeError("config", "expected an object")
    version = config.get("schema_version")
    if type(version) is int and version not in SUPPORTED_SCHEMA_VERSIONS:
        raise SchemaVersionError(version, SUPPORTED_SCHEMA_VERSIONS)
    moment = document.pop("as_of", None)
    envelope = wire.read(Envelope, document)
    if moment is not None:
        envelope = replace(envelope, as_of=wire.read_message(AsOf, moment, on_unknown, "as_of"))
    written = json.dumps(config, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return envelope, hashlib.sha256(written.encode()).hexdigest()
