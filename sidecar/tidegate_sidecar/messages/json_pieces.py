"""Pieces of an array or object that is too large to be parsed at once.

A piece is cut between two tokens, and given what it lacks on either side to be a text of its own: the brackets that it closes,
what stands before it within the innermost one, and the brackets that it leaves open. Then a parser judges it like any
other text. That the pieces of a value are right one by one means that the value is: what may follow at a cut depends on the
open brackets and the last token alone, and both are written in front of the next piece.

Where a text is no JSON, what is found here about its brackets may be wrong, but some piece of it is refused: the first
that has the fault was cut as it should be.
"""

from __future__ import annotations

import re
from itertools import accumulate, takewhile
from typing import Final

from tidegate_sidecar.messages.json_members import split_at_quotes
from tidegate_sidecar.messages.json_values import STRING, NotJsonError

MAX_NESTING: Final = 1_024
"""Levels of arrays and objects, the outermost one included: as many as orjson takes."""

_TO_BRACKET: Final = re.compile(
    rb'[^"\[\]{}]*+(?>(?:' + STRING + rb'[^"\[\]{}]*+)*)(?:([\[{])|[\]}])', re.DOTALL
)
_SAME_BRACKETS: Final = re.compile(rb"[\[{]+|[\]}]+")
_OPENING: Final = b"[{"
_CLOSING: Final = bytes.maketrans(b"[{", b"]}")
_NO_BRACKETS: Final = bytes(byte for byte in range(256) if byte not in b"[]{}")
_ROUNDS: Final = 8
"""In which pairs of brackets are taken out before those that are left are followed: few are, after that."""

_WHITE: Final = b" \t\n\r"
_IN_SCALARS: Final = b"-+.0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

_BEFORE: Final = {
    b"[[": b"[",
    b"[,": b"[0,",
    b"[]": b"[0",
    b"[}": b"[0",
    b"{{": b"{",
    b"{,": b'{"":0,',
    b"{:": b'{"":',
    b"{]": b'{"":0',
    b"{}": b'{"":0',
}
"""What stands for all that was read within an open bracket: by the bracket and the last token that is no string or scalar."""
_AFTER: Final = {b"[,": b"0", b"{,": b'"":0', b"{:": b"0"}
"""What makes a text whole that breaks off there, up to the closing brackets."""


def whole_tokens(text: bytes) -> tuple[bytes, bytes]:
    """The beginning of `text` up to its last bracket, comma or colon outside of strings, and the brackets in it.

    Raises:
        NotJsonError: two values follow each other.
    """
    piece = text
    parts = split_at_quotes(piece)
    if len(parts) % 2 == 0:  # it ends within a string, which is left for the next piece
        piece = piece[: -len(parts.pop()) - 1]
    piece = piece.rstrip(_WHITE).rstrip(_IN_SCALARS).rstrip(_WHITE)
    if piece.endswith(b'"') and len(parts) > 1:
        piece = piece[: -len(parts[-2]) - 2].rstrip(_WHITE)
    if piece and piece[-1] not in b"[]{},:":
        raise NotJsonError("an unexpected character", len(piece) - 1)
    return piece, b"".join(parts[::2]).translate(None, _NO_BRACKETS)


def followed(levels: bytes, brackets: bytes) -> tuple[bytes, int, int]:
    """What is open after `brackets` where `levels` were, and how few and how many were on the way.

    The least is 0 where the value ends, which is when its own bracket closes, the second of `levels`. Whether the kinds of
    brackets fit is for the parsers to say.
    """
    left = brackets
    for _ in range(_ROUNDS):
        length = len(left)
        left = left.replace(b"[]", b"").replace(b"{}", b"")
        if len(left) > length * 3 // 4:
            break
    stack = bytearray(levels)
    lowest = highest = len(stack)
    for run in _SAME_BRACKETS.findall(left):
        if run[0] in _OPENING:
            stack += run
            highest = max(highest, len(stack))
        elif len(stack) - len(run) > 1:
            del stack[-len(run) :]
            lowest = min(lowest, len(stack))
        else:
            lowest = 0
            break
    if highest + _ROUNDS > MAX_NESTING:  # those that were taken out may count
        steps = accumulate((1 if bracket in _OPENING else -1 for bracket in brackets), initial=len(levels))
        highest = max(takewhile(lambda depth: depth > 1, steps))
    return bytes(stack), lowest, highest


def end_of_value(piece: bytes, depth: int) -> int:
    """Behind the bracket that closes the outermost of `depth` levels, which are open where `piece` begins."""
    end = 0
    while match := _TO_BRACKET.match(piece, end):  # no search: it would look for brackets within strings
        end = match.end()
        depth += 1 if match.lastindex else -1
        if depth == 0:
            return end
    return len(piece)


def beginning_of(levels: bytes, last: bytes) -> bytes:
    """What stands for all before a piece: `levels` are open, from the one that it lets be, and `last` was the last token."""
    return levels[:-1].replace(b"{", b'{"":') + _BEFORE[levels[-1:] + last]


def ending_of(levels: bytes, last: bytes) -> bytes:
    """What makes a piece whole that ends with `last`, while `levels` are open."""
    return _AFTER.get(levels[-1:] + last, b"") + levels[::-1].translate(_CLOSING)
