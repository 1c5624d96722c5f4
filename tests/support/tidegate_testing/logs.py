"""What a log may have that is none of our own words."""

from __future__ import annotations

import re
from typing import Final

_OF_THE_LOOP: Final = re.compile(
    r"^.* ERROR asyncio Fatal error on SSL protocol\n(?:(?!\d{4}-).*\n)*", re.MULTILINE
)


def without_the_loops(log: str) -> str:
    """The log without uvloop's words for a peer that was gone before an answer could be written, as after a thaw."""
    return _OF_THE_LOOP.sub("", log)
