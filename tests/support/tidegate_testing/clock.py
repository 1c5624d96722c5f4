"""Time that stands still until a test moves it."""

from __future__ import annotations

from tidegate_sidecar.clock import Clock


class FakeClock:
    """Both clocks of a process; `advance` moves them together."""

    def __init__(self) -> None:
        self.now_ns = 1_000_000_000_000
        self.clock = Clock(
            monotonic_ns=lambda: self.now_ns, wall_ns=lambda: 1_790_000_000_000_000_000 + self.now_ns
        )

    def advance(self, *, ms: int) -> None:
        self.now_ns += ms * 1_000_000
