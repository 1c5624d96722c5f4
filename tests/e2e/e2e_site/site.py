"""The namespace in which an application calls all the time, for tests that disturb something meanwhile."""

from __future__ import annotations

from typing import Final

SITE: Final = "site"
CALLERS: Final = 3
CALLS_PER_SECOND: Final = 5
