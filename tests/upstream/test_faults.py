"""When a request that failed may be sent again on a new connection, uncounted."""

from __future__ import annotations

import pytest

from tidegate_sidecar.upstream.faults import ConnectError, ConnectionFault, FaultKind, is_stale

STALE = ConnectionFault(FaultKind.CLOSED, "it closed the connection", sent=True, after_ms=3, is_reused=True)


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (STALE, True),
        (STALE._replace(sent=False, after_ms=0), True),
        (STALE._replace(after_ms=1_000), True),
        (STALE._replace(after_ms=1_001), False),
        (STALE._replace(sent=False, after_ms=5_000), True),
        (STALE._replace(is_reused=False), False),
        (STALE._replace(is_reused=False, sent=False), False),
        (STALE._replace(answer_began=True), False),
        *((STALE._replace(kind=kind), False) for kind in FaultKind if kind is not FaultKind.CLOSED),
    ],
)
def test_only_a_reused_connection_that_ended_at_once_and_without_a_word_is_stale(
    fault: ConnectionFault, expected: bool
) -> None:
    assert is_stale(fault) is expected


def test_an_error_says_what_its_fault_says() -> None:
    assert str(ConnectError(STALE)) == STALE.reason
