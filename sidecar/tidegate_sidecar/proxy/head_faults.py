"""Which dialect a head speaks that could not be read (PURE). It may hold keys: it is looked at, and quoted nowhere."""

from __future__ import annotations

from tidegate_sidecar.dialects.base import Dialect, RawHeaders
from tidegate_sidecar.dialects.registry import Dialects


def dialect_of_head(seen: bytes, dialects: Dialects) -> Dialect:
    """The dialect in which the one who sent `seen` understands an error, as far as that can be guessed."""
    line, _, rest = seen.partition(b"\n")
    words = line.split(b" ")
    path = words[1].partition(b"?")[0].decode("latin-1") if len(words) > 1 else ""
    names: RawHeaders = [(it.partition(b":")[0].strip(), b"") for it in rest.split(b"\n") if b":" in it]
    return dialects.of_path(path, names)
