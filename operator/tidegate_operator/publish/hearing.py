"""How long a silent sidecar is given before its silence counts (PURE).

A pod that starts has nothing to say yet, and a replica that begins to lead has heard nobody yet: neither is a reason to
take an object for one that is not in force. A sidecar that has never run enforces nothing, and lets nothing pass either.
Times are nanoseconds of the process' own monotonic clock.
"""

from __future__ import annotations

from collections.abc import Iterable

from tidegate_operator.index.pods import Pod


class Hearing:
    """Since when sidecars could have been heard, of those of which this replica knows it."""

    def __init__(self, patience_ns: int) -> None:
        """Give each sidecar `patience_ns`, from its beginning and from the beginning of this replica's lead."""
        self._patience_ns = patience_ns
        self._begun: dict[str, int] = {}
        self._leading_since_ns: int | None = None
        self._is_settled = True

    def __repr__(self) -> str:
        return f"<Hearing {len(self._begun)} sidecars have begun, settled: {self._is_settled}>"

    def begun(self, pod_uids: Iterable[str], now_ns: int) -> None:
        """These sidecars were just seen to begin."""
        self._begun |= dict.fromkeys(pod_uids, now_ns)

    def leading(self, now_ns: int, *, is_leading: bool) -> None:
        """Whether this replica leads, and so is told what the others hear."""
        if not is_leading:
            self._leading_since_ns = None
        elif self._leading_since_ns is None:
            self._leading_since_ns, self._is_settled = now_ns, False

    def look(self, now_ns: int) -> bool:
        """Whether somebody's time has run out since the last look."""
        silent = [uid for uid, begun_ns in self._begun.items() if now_ns - begun_ns >= self._patience_ns]
        for uid in silent:
            del self._begun[uid]
        was_settled = self._is_settled
        if self._leading_since_ns is not None:
            self._is_settled = was_settled or now_ns - self._leading_since_ns >= self._patience_ns
        return bool(silent) or self._is_settled is not was_settled

    @property
    def is_settled(self) -> bool:
        """Whether this replica has led for long enough to have heard everybody who speaks."""
        return self._is_settled

    @property
    def fresh_ns(self) -> int | None:
        """Words from before this may be outdated by others that only a former leader has heard; None: none is."""
        return None if self._is_settled else self._leading_since_ns

    def is_starting(self, pod: Pod) -> bool:
        """Whether a pod that has not been heard need not have been."""
        begun_ns = self._begun.get(pod.uid)
        # One that began under a former leader may have been heard by it.
        here = (
            begun_ns is not None and self._leading_since_ns is not None and begun_ns >= self._leading_since_ns
        )
        return not pod.has_begun or here
