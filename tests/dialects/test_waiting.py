"""How long a provider asks to wait."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate_sidecar.dialects.base import RawHeaders
from tidegate_sidecar.dialects.retry_after import retry_after_ms

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
NOW_MS = int(NOW.timestamp() * 1_000)


def date(after_s: int) -> bytes:
    return format_datetime(NOW + timedelta(seconds=after_s), usegmt=True).encode()


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ((), None),
        (((b"Retry-After", b"7"),), 7_000),
        (((b"retry-after", b"0"),), 0),
        (((b"retry-after", b" 1.5 "),), 1_500),
        (((b"retry-after", b"1."),), 1_000),
        (((b"retry-after-ms", b"250"), (b"retry-after", b"7")), 250),
        (((b"retry-after-ms", b"soon"), (b"retry-after", b"7")), 7_000),
        (((b"retry-after", date(30)),), 30_000),
        (((b"retry-after", date(-30)),), 0),
        (((b"retry-after", b"soon"),), None),
        (((b"retry-after", b"-5"),), None),
        (((b"retry-after", "\u0667".encode()),), None),
        (((b"retry-after", b"Mon, 01 Jan 0001 00:00:00 -0000"),), 0),
    ],
)
def test_how_long_a_provider_asks_to_wait(headers: RawHeaders, expected: int | None) -> None:
    assert retry_after_ms(headers, NOW_MS) == expected


@given(
    st.binary(max_size=40) | st.from_regex(r"[0-9]{0,30}\.?[0-9]{0,5}", fullmatch=True).map(str.encode),
    st.binary(max_size=40),
)
def test_no_header_breaks_the_reading_of_how_long_to_wait(seconds: bytes, milliseconds: bytes) -> None:
    wait_ms = retry_after_ms(((b"retry-after", seconds), (b"retry-after-ms", milliseconds)), NOW_MS)
    assert wait_ms is None or wait_ms >= 0
