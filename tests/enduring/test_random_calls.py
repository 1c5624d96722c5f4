"""Random calls with random faults, and nothing is left of them; `make prove` makes very many more."""

from __future__ import annotations

import pytest
from tidegate_enduring.run import endure

from tidegate_runtime import loop

CALLS = 1_000


@pytest.mark.parametrize("seed", [1, 2])
def test_nothing_is_left_of_them(seed: int) -> None:
    """No task, no connection that is not idle, no grant, no probe, no byte; and no answer has the word of another call."""
    told = loop.run(endure(CALLS, seed))
    for ending in ("served", "refused", "failed", "client_gone", "provider_error"):
        assert ending in told
    assert "internal_error" not in told
