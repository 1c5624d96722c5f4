"""Made-up rules that have to be waited for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from tidegate_testing.configs import POLICY

from tidegate_policy.model import Mode
from tidegate_sidecar.config.registry import DEFAULT, Phase, PolicyKind, Registry
from tidegate_sidecar.policies.base import Facts, Grant, Needs, Outcome, Rejected, Wait

NOT_IN_TIME = Rejected("made-up", POLICY, retry_after_ms=1_000, limit="made up", remaining=0)


class Counted:
    """Counts its grants.

    Attributes:
        outstanding: how many are not settled.
    """

    mode = Mode.ENFORCE

    def __init__(self) -> None:
        self.outstanding = 0

    def grant(self) -> Grant:
        self.outstanding += 1
        return _Once(self)

    @property
    def is_settled(self) -> bool:
        return self.outstanding == 0


class _Once:
    def __init__(self, policy: Counted) -> None:
        self._policy: Counted | None = policy

    def settle(self, outcome: Outcome, now_ns: int) -> None:  # noqa: ARG002 - whatever it was
        assert self._policy is not None, "a grant is settled once"
        self._policy.outstanding -= 1
        self._policy = None


class Afar(Counted):
    """One right for each admission, which has to be got from elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self._rights = 0

    def admit(self, facts: Facts, now_ns: int) -> Grant | Needs:  # noqa: ARG002 - whoever asks
        if not self._rights:
            return Needs("afar", self._get, NOT_IN_TIME)
        self._rights -= 1
        return self.grant()

    async def _get(self) -> None:
        for _ in range(3):
            await asyncio.sleep(0)
        self._rights += 1


class Queue(Counted):
    """Whoever comes stands in a queue first, and has its turn a little later."""

    def __init__(self) -> None:
        super().__init__()
        self._waiting: list[Callable[[], None]] = []
        self._is_next = False

    @property
    def is_settled(self) -> bool:
        return super().is_settled and not self._waiting

    def admit(self, facts: Facts, now_ns: int) -> Grant | Wait:  # noqa: ARG002 - whoever asks
        if self._is_next:
            self._is_next = False
            return self.grant()
        return Wait(self._join, 1_000, NOT_IN_TIME)

    def _join(self, on_turn: Callable[[], None]) -> Callable[[], None]:
        self._waiting.append(on_turn)
        asyncio.get_running_loop().call_soon(self._call)
        return lambda: self._waiting.remove(on_turn)

    def _call(self) -> None:
        if self._waiting:
            self._is_next = True
            self._waiting[0]()


def registry_with(policy: Afar | Queue, phase: Phase) -> Registry:
    """What there is, and one rule more, which holds for everything."""
    kind = PolicyKind(
        rules=lambda _: (policy,),
        make=lambda rule, _: rule,
        phase=lambda _: phase,
        identity=lambda _: "made-up",
    )
    return Registry(policies=(*DEFAULT.policies, kind))
