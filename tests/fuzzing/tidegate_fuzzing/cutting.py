"""Where bytes are cut: the first few of an input say it, so that the fuzzer learns where it hurts."""

from __future__ import annotations

_MOST_CUTS = 7


def cut(data: bytes) -> tuple[list[bytes], bytes]:
    """The pieces in which an input arrives, and the same as a whole.

    The first byte says how many sizes follow it. The pieces have these sizes, over and over; without a size each byte
    comes alone. A size of 0 is 1.
    """
    count = data[0] % (_MOST_CUTS + 1) if data else 0
    sizes, whole = data[1 : 1 + count] or b"\1", data[1 + count :]
    pieces, at, nth = [], 0, 0
    while at < len(whole):
        size = sizes[nth % len(sizes)] or 1
        pieces.append(whole[at : at + size])
        at, nth = at + size, nth + 1
    return pieces, whole


def chosen(data: bytes) -> tuple[int, bytes]:
    """A number below 256 that the input begins with, and the rest of it."""
    return (data[0], data[1:]) if data else (0, b"")
