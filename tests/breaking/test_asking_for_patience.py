"""A provider that asked for patience is left alone meanwhile: by whoever uses the same credential, and by nobody else."""

from hypothesis import given
from hypothesis import strategies as st

from tidegate_sidecar.policies.cooldowns import WHOLE_ACCOUNT, Cooldowns, credential_of_caller
from tidegate_sidecar.policies.standing import Cause, Unavailable

MS = 1_000_000
MINUTE_MS = 60_000


def cool(cooldowns: Cooldowns, credential: str, model: str, wait_ms: int, now_ms: int = 0) -> None:
    cooldowns.cool(credential, model, wait_ms, at_most_ms=5 * MINUTE_MS, now_ns=now_ms * MS)


def test_one_model_of_a_credential_cools_until_its_time_is_over() -> None:
    cooldowns = Cooldowns()
    assert not cooldowns
    cool(cooldowns, "prod", "gpt-4o", 2_000)
    assert cooldowns
    assert cooldowns.rest_ms("prod", "gpt-4o", 0) == 2_000
    assert cooldowns.rest_ms("prod", "gpt-4o", 2_000 * MS - 1) == 1
    assert cooldowns.rest_ms("prod", "o3", 0) == 0
    assert cooldowns.rest_ms("backup", "gpt-4o", 0) == 0
    assert cooldowns.standing("prod", "gpt-4o", 500 * MS) == Unavailable(
        Cause.COOLING, "it asked for patience, for 2s more", 1_500
    )
    assert cooldowns.standing("prod", "o3", 0) is None
    assert cooldowns.rest_ms("prod", "gpt-4o", 2_000 * MS) == 0
    assert not cooldowns, "when all is over, nobody has to look any more"


def test_a_whole_account_cools_for_all_its_models() -> None:
    cooldowns = Cooldowns()
    cool(cooldowns, "prod", WHOLE_ACCOUNT, 2_000)
    cool(cooldowns, "prod", "gpt-4o", 3_000)
    assert cooldowns.rest_ms("prod", "o3", 0) == 2_000
    assert cooldowns.rest_ms("prod", "gpt-4o", 0) == 3_000
    assert cooldowns.rest_ms("backup", "o3", 0) == 0


def test_no_more_patience_is_given_than_the_bound() -> None:
    cooldowns = Cooldowns()
    cool(cooldowns, "prod", "gpt-4o", 86_400_000)
    assert cooldowns.rest_ms("prod", "gpt-4o", 0) == 5 * MINUTE_MS


def test_the_latest_end_holds_whatever_came_last() -> None:
    cooldowns = Cooldowns()
    for wait_ms, now_ms in ((1_000, 0), (3_000, 0), (500, 100), (0, 200)):
        cool(cooldowns, "prod", "gpt-4o", wait_ms, now_ms)
    assert cooldowns.rest_ms("prod", "gpt-4o", 200 * MS) == 2_800


def test_no_patience_at_all_cools_nothing() -> None:
    cooldowns = Cooldowns()
    cool(cooldowns, "prod", "gpt-4o", 0, 1_000)
    assert not cooldowns


def test_keys_of_callers_without_end_take_no_memory_without_end() -> None:
    cooldowns = Cooldowns(max_cooling=3)
    for number, wait_ms in enumerate((5_000, 1_000, 3_000, 4_000, 2_000)):
        cool(cooldowns, credential_of_caller(f"sk-{number}"), "gpt-4o", wait_ms)
    rests = [cooldowns.rest_ms(credential_of_caller(f"sk-{number}"), "gpt-4o", 0) for number in range(5)]
    assert rests == [5_000, 0, 0, 4_000, 2_000]
    cool(cooldowns, credential_of_caller("sk-4"), "gpt-4o", 6_000)
    assert len(cooldowns) == 3


def test_a_reload_forgets_nothing_and_both_know_what_either_learns() -> None:
    before, after = Cooldowns(), Cooldowns()
    cool(before, "prod", "gpt-4o", 2_000)
    after.carry(before, 0)
    assert after.rest_ms("prod", "gpt-4o", 0) == 2_000
    cool(before, "prod", "o3", 5_000)
    cool(after, "prod", "o1", 7_000)
    assert [after.rest_ms("prod", "o3", 0), before.rest_ms("prod", "o1", 0)] == [5_000, 7_000]


def test_what_has_ended_is_not_counted() -> None:
    cooldowns = Cooldowns()
    cool(cooldowns, "prod", "gpt-4o", 2_000)
    cool(cooldowns, "prod", "o3", 5_000)
    assert [cooldowns.count(ms * MS) for ms in (0, 1_999, 2_000, 5_000)] == [2, 2, 1, 0]


def test_a_callers_own_key_cools_itself_alone_and_is_kept_nowhere() -> None:
    key = "sk-secret-0123456789"
    name = credential_of_caller(key)
    assert name == credential_of_caller(key) != credential_of_caller(key + "x")
    assert key not in name
    assert len(name) < 40
    assert credential_of_caller("\udcff") != credential_of_caller("\udcfe")


@given(
    st.lists(
        st.tuples(
            st.sampled_from("ab"),
            st.sampled_from(["m", "n", WHOLE_ACCOUNT]),
            st.integers(0, 400_000),
            st.integers(0, 200_000),
        ),
        max_size=30,
    ),
    st.integers(0, 200_000),
)
def test_what_is_left_agrees_with_a_list_of_all_that_was_asked_for(
    steps: list[tuple[str, str, int, int]], later_ms: int
) -> None:
    cooldowns = Cooldowns()
    asked: list[tuple[str, str, int]] = []
    now_ms = 0
    for credential, model, wait_ms, gap_ms in steps:
        now_ms += gap_ms
        cool(cooldowns, credential, model, wait_ms, now_ms)
        asked.append((credential, model, now_ms + min(wait_ms, 5 * MINUTE_MS)))
    now_ms += later_ms
    for credential in "ab":
        for model in ("m", "n"):
            ends = [end for who, what, end in asked if who == credential and what in (model, WHOLE_ACCOUNT)]
            assert cooldowns.rest_ms(credential, model, now_ms * MS) == max(
                [0, *(end - now_ms for end in ends)]
            )
