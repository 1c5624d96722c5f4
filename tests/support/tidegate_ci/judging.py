"""What a step that runs tests has come to: it passed, some of its tests are run once more, or it failed. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tidegate_ci.outcomes import Failure, Outcomes

MOST_AGAIN: Final = 5
"""More failures than that have a cause that a second run would only find again."""

TESTS_FAILED: Final = 1
"""pytest's exit status when some tests failed, and nothing else was wrong."""

_SHOWN: Final = 10


class Verdict(NamedTuple):
    """What follows from a step: nothing where both are empty.

    Attributes:
        broken: why the step failed for good.
        again: tests that are run once more, each alone, at the end.
    """

    broken: str = ""
    again: tuple[Failure, ...] = ()


def judge(exit_code: int, outcomes: Outcomes | None) -> Verdict:
    """What the exit code of make and the words of pytest say together.

    Whatever is not a failed test of the cluster tiers fails the step: also where pytest did not come to its end, could not
    collect a file, or ran no test of the cluster tiers at all.
    """
    if outcomes is None:
        return Verdict("the tests did not come to their end")
    return Verdict(broken) if (broken := _broken(exit_code, outcomes)) else Verdict(again=outcomes.failures)


def _broken(exit_code: int, outcomes: Outcomes) -> str:
    if outcomes.not_collected:
        return f"tests could not be collected: {_listed(outcomes.not_collected)}"
    elsewhere = [failure.test for failure in outcomes.failures if not failure.uses_cluster]
    if elsewhere:
        return f"tests outside of the cluster tiers failed: {_listed(elsewhere)}"
    if outcomes.exit_status != (TESTS_FAILED if outcomes.failures else 0):
        return f"pytest ended with {outcomes.exit_status}"
    if outcomes.run_with_cluster == 0:
        return "no test of the cluster tiers was run"
    failed = [failure.test for failure in outcomes.failures]
    if len(failed) > MOST_AGAIN:
        return f"{len(failed)} tests failed, more than {MOST_AGAIN}: {_listed(failed)}"
    return "" if failed or not exit_code else f"the tests passed, and what ran them ended with {exit_code}"


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
