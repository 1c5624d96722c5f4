"""The configuration in force, kept on disk: a container that is started again enforces it before anybody answers.

One file, replaced as a whole: a line that names its format and the SHA-256 of the rest, then the envelope without its
secrets. What cannot be read is ignored, said once and counted: a copy must never keep a sidecar from its original.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tidegate_policy import wire
from tidegate_policy.envelope import MAX_ENVELOPE_BYTES, Envelope, decode_envelope
from tidegate_policy.errors import ContractError

_log = logging.getLogger(__name__)

_FORMAT: Final = b"tidegate-last-known-good 1 "
_MAX_FILE_BYTES: Final = MAX_ENVELOPE_BYTES + 1_024


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What the disk has.

    Attributes:
        digest: of the configuration, as the operator calls it.
        kept_ns: when it was written, since the epoch.
    """

    envelope: Envelope
    digest: str
    kept_ns: int


class LastKnownGood:
    """The file `config` in a folder that outlives the container."""

    def __init__(self, folder: Path, on_failure: Callable[[str], None]) -> None:
        """Use `folder`; `on_failure` is told `read` or `write` whenever that does not work."""
        self._path = folder / "config"
        self._on_failure = on_failure
        self._said = ""

    def read(self) -> Kept | None:
        """What was kept last; None when there is nothing, or nothing that can be used."""
        try:
            kept_ns = self._path.stat().st_mtime_ns
            with self._path.open("rb") as file:
                envelope, digest = decode_envelope(_body(file.read(_MAX_FILE_BYTES)))
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            self._failed("read", error)
            return None
        return Kept(envelope=envelope, digest=digest, kept_ns=kept_ns)

    def write(self, envelope: Envelope) -> bool:
        """Keep `envelope`, its secrets left out; whether that worked. The file is replaced whole or not at all."""
        body = wire.encode(envelope.without_secrets())
        try:
            replace(self._path, _head(body) + b"\n" + body)
        except OSError as error:
            self._failed("write", error)
            return False
        self._said = ""
        return True

    def _failed(self, operation: str, error: OSError | ValueError) -> None:
        self._on_failure(operation)
        what = str(error) if isinstance(error, ContractError) else f"{type(error).__name__}: {error}"
        if what != self._said:
            self._said = what
            _log.warning("the last known good configuration cannot be %s: %s", _PAST[operation], what)


_PAST: Final = {"read": "read and is ignored", "write": "kept"}


def replace(path: Path, content: bytes) -> None:
    """Put `content` in the place of a file, so that a reader or a power cut finds the former or the new, never a part.

    Raises:
        OSError: it was not done.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = path.with_name(f"{path.name}.new")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        # The rename itself is an entry of the folder, and lost with it.
        os.fsync(folder)
    finally:
        os.close(folder)


def _body(content: bytes) -> bytes:
    head, _, body = content.partition(b"\n")
    if head != _head(body):
        raise ValueError("its checksum is wrong: it was not written to its end, or by somebody else")
    return body


def _head(body: bytes) -> bytes:
    return _FORMAT + hashlib.sha256(body).hexdigest().encode()
