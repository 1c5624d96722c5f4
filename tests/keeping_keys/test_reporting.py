"""Which keys are missing is told to the operator: by the names of credentials, never by anything of a key."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from tidegate_testing import configs
from tidegate_testing.following import Pod, until
from tidegate_testing.mount import SecretMount
from tidegate_testing.publisher import CHAT, Cluster, a_pod, edition, running_publisher

from tidegate_policy import wire
from tidegate_policy.keys import KeyProblem, KeyReport, LackingKey
from tidegate_policy.model import CompiledConfig, CredentialRef, ObjectRef
from tidegate_policy.poll import MAX_KEYS_CHARS, format_keys, parse_keys
from tidegate_sidecar.credentials.keyring import Keyring
from tidegate_sidecar.credentials.mounted import MountedKeys

CANARY = "sk-canary-11223344556677889900"


def credential(name: str, *, is_suspended: bool = False, variable: str = "") -> CredentialRef:
    source = ObjectRef(kind="ProviderCredential", namespace="platform", name=name)
    secret_key = "" if variable else name
    return CredentialRef(
        source=source, secret_key=secret_key, environment_variable=variable, suspended=is_suspended
    )


def using(*credentials: CredentialRef) -> CompiledConfig:
    return configs.config(
        configs.pool(configs.provider("one", "http://127.0.0.1:1", credentials=credentials))
    )


def lacking(name: str, problem: KeyProblem) -> LackingKey:
    return LackingKey(namespace="platform", name=name, problem=problem.value)


def test_credentials_without_a_usable_key_are_named_with_the_reason(tmp_path: Path) -> None:
    mount = SecretMount(tmp_path / "keys", present=CANARY, empty="")
    keys = MountedKeys(str(mount))
    keys.look()
    keyring = Keyring({"SET": CANARY, "BLANK": " ", "WRONG": "not ascii: ü"}, keys)
    config = using(
        credential("present"),
        credential("empty"),
        credential("absent"),
        credential("suspended", is_suspended=True),
        credential("set", variable="SET"),
        credential("blank", variable="BLANK"),
        credential("wrong", variable="WRONG"),
    )
    assert keyring.report(config) == KeyReport(
        lacking=(
            lacking("absent", KeyProblem.MISSING),
            lacking("blank", KeyProblem.MISSING),
            lacking("empty", KeyProblem.UNUSABLE),
            lacking("wrong", KeyProblem.UNUSABLE),
        )
    )
    assert Keyring({}).report(using(credential("any"))).lacking == (lacking("any", KeyProblem.NOT_MOUNTED),)


NAMES = st.text("abc-", min_size=1, max_size=253)
LACKING = st.builds(
    LackingKey,
    namespace=st.text("ab-", min_size=1, max_size=63),
    name=NAMES,
    problem=st.sampled_from(KeyProblem),
)


@given(st.lists(LACKING, max_size=60))
def test_a_header_names_as_many_as_fit_and_says_how_many_more_there_are(lacking: list[LackingKey]) -> None:
    report = KeyReport(lacking=tuple(lacking))
    text = format_keys(report)
    assert len(text) <= MAX_KEYS_CHARS
    named = parse_keys(text)
    assert named.lacking == report.lacking[: len(named.lacking)]
    assert len(named.lacking) + named.left_out == len(lacking)
    assert named.lacking or not lacking


async def test_the_operator_hears_of_a_missing_key_until_it_is_there(tmp_path: Path) -> None:
    cluster = Cluster(a_pod())
    pod = Pod(tmp_path)
    pod.token_file.write_text(cluster.token(a_pod()))
    mount = SecretMount(tmp_path / "keys", other=CANARY)
    keys = MountedKeys(str(mount))
    keys.look()
    config = using(credential("openai"), credential("other"))
    async with running_publisher(cluster) as operator:
        operator.board.publish(edition((CHAT, config)))
        reports = Keyring({}, keys).report
        async with pod.following(
            operator.url, operator.bundle.trust, keys=reports, poll_wait_ms=1_000
        ) as follower:
            await follower.loaded()
            uid = a_pod().uid

            def reported() -> tuple[LackingKey, ...] | None:
                report = operator.book.get(uid)
                return report.keys.lacking if report is not None and report.ack.digest else None

            await until(lambda: reported() == (lacking("openai", KeyProblem.MISSING),))
            report = operator.book.get(uid)
            assert CANARY not in wire.encode(report).decode()
            mount.write({"openai": CANARY, "other": CANARY})
            keys.look()
            await until(lambda: reported() == ())
