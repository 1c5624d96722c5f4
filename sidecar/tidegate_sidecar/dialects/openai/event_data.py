"""The data of one event of a stream, whichever endpoint it comes from."""

from __future__ import annotations

from typing import Final

from tidegate_sidecar.dialects.base import UnreadableError
from tidegate_sidecar.dialects.json_text import read_json, what_is

DONE: Final = object()
"""What `read_leniently` returns for the mark of the end, whatever stands around it."""

_DONE: Final = b"[DONE]"


def read_leniently(data: bytes) -> object:
    """What data says that the fast parser refuses: `DONE`, or whatever the SDKs' parsers take.

    Raises:
        UnreadableError: it is neither.
    """
    if data.lstrip().startswith(_DONE):
        return DONE
    try:
        return read_json(data)
    except ValueError:
        raise no_object(data) from None


def no_object(data: bytes) -> UnreadableError:
    """The error for data that should have been a JSON object."""
    return UnreadableError(f"an event of {len(data)} bytes that is {what_is(data)}, not a JSON object")
