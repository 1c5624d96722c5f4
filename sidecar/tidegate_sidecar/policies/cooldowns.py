"""Cooldowns: a provider that asked for patience is left alone meanwhile, by every call with the same credential.

Limits of a provider hold for an account, mostly for each of its models. So what cools is a model of a credential, or the
whole credential where the provider's answer means all of its models. A key that a caller sent itself is a credential of
its own and cools nobody else's calls.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Final

from tidegate_policy.units import format_duration
from tidegate_sidecar.policies.standing import Cause, Unavailable

WHOLE_ACCOUNT: Final = ""
"""In place of a model: all models of the credential."""

MAX_COOLING: Final = 1_024
"""How much cools at a time; the next one takes the place of what ends first."""

_MS_NS: Final = 1_000_000


class Cooldowns:
    """What is left alone, and until when.

    False while there is nothing to look for, so that a call of a good day looks for nothing.
    """

    __slots__ = ("_ends", "_max_cooling")

    def __init__(self, *, max_cooling: int = MAX_COOLING) -> None:
        """Nothing cools."""
        self._ends = _Ends()
        self._max_cooling = max_cooling

    def __repr__(self) -> str:
        return f"<Cooldowns {len(self)} at most>"

    def __len__(self) -> int:
        """How much may be cooling; what has ended is among it until somebody asks for the rest of something."""
        return len(self._ends.at_ns)

    def cool(self, credential: str, model: str, wait_ms: int, *, at_most_ms: int, now_ns: int) -> None:
        """Leave `model` (or `WHOLE_ACCOUNT`) alone for as long as the provider asked, within a bound.

        An end that is later already stays: answers to calls that went out together come in any order.

        Args:
            credential: the caller's name for it, one and the same wherever it is used; never the key itself.
            model: as `rest_ms` is asked for it.
            wait_ms: what the provider asked for.
            at_most_ms: how much of that is believed.
            now_ns: the time.
        """
        end_ns = now_ns + min(wait_ms, at_most_ms) * _MS_NS
        at_ns = self._ends.at_ns
        if end_ns <= at_ns.get((credential, model), now_ns):
            return
        if len(at_ns) >= self._max_cooling and (credential, model) not in at_ns:
            del at_ns[min(at_ns, key=at_ns.__getitem__)]
        at_ns[credential, model] = end_ns
        self._ends.last_ns = max(self._ends.last_ns, end_ns)

    def rest_ms(self, credential: str, model: str, now_ns: int) -> int:
        """How long a call for `model` has to wait, rounded up; 0: not at all."""
        at_ns = self._ends.at_ns
        if now_ns >= self._ends.last_ns:
            at_ns.clear()
            return 0
        end_ns = max(at_ns.get((credential, model), 0), at_ns.get((credential, WHOLE_ACCOUNT), 0))
        return max(0, -((now_ns - end_ns) // _MS_NS))

    def count(self, now_ns: int) -> int:
        """How much is cooling."""
        return sum(1 for end_ns in self._ends.at_ns.values() if end_ns > now_ns)

    def standing(self, credential: str, model: str, now_ns: int) -> Unavailable | None:
        """Why a call for `model` is not to be made now; None: nothing stands against it."""
        rest_ms = self.rest_ms(credential, model, now_ns) if self._ends.at_ns else 0
        if not rest_ms:
            return None
        return Unavailable(Cause.COOLING, f"it asked for patience, for {_seconds(rest_ms)} more", rest_ms)

    def carry(self, previous: Cooldowns, now_ns: int) -> None:  # noqa: ARG002 - as all that is carried over
        """Go on together with `previous`, those of the same pool before a reload."""
        self._ends = previous._ends


def credential_of_caller(key: str) -> str:
    """The name of a credential that a caller sent itself: a digest, so that the key is kept nowhere."""
    digest = blake2b(key.encode("utf-8", "surrogatepass"), digest_size=16, person=b"tidegate-caller")
    return f"#{digest.hexdigest()}"


def _seconds(ms: int) -> str:
    return format_duration(-(-ms // 1_000) * 1_000)


class _Ends:
    """When each (credential, model) is asked again, and when the last of them is; what two share after a reload."""

    __slots__ = ("at_ns", "last_ns")

    def __init__(self) -> None:
        self.at_ns: dict[tuple[str, str], int] = {}
        self.last_ns = 0
