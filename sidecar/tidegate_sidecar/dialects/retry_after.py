"""How long a provider asks to wait."""

from __future__ import annotations

import re
from email.utils import parsedate_to_datetime
from typing import Final

from tidegate_sidecar.dialects.base import RawHeaders

_NUMBER: Final = re.compile(r"([0-9]+)(?:\.([0-9]*))?")
_MOST_DIGITS: Final = 12
"""Of seconds: some thirty thousand years."""


def retry_after_ms(headers: RawHeaders, wall_ms: int) -> int | None:
    """How long the provider asks to wait. None: it does not say, or nothing that can be read.

    `retry-after-ms` (OpenAI, Azure) is the finer word; `retry-after` is seconds or a date (RFC 9110 section 10.2.3),
    for which `wall_ms` is the time now.
    """
    found = {name.lower(): value for name, value in headers if name.lower().startswith(b"retry-after")}
    for name, factor in ((b"retry-after-ms", 1), (b"retry-after", 1_000)):
        if number := _NUMBER.fullmatch(found.get(name, b"").strip().decode("latin-1")):
            whole, decimals = number[1][:_MOST_DIGITS], (number[2] or "")[:3].ljust(3, "0")
            return int(whole) * factor + int(decimals) * factor // 1_000
    try:
        date = parsedate_to_datetime(found.get(b"retry-after", b"").decode("latin-1"))
        return max(0, int(date.timestamp() * 1_000) - wall_ms)
    except (ValueError, TypeError, OverflowError):
        return None
