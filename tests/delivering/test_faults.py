"""What goes wrong between sidecar and operator: nothing is lost, nothing goes backwards, the log says what and why."""

from __future__ import annotations

import logging
from dataclasses import replace

import pytest
from aiohttp import web
from tidegate_testing import configs
from tidegate_testing.following import Pod, scripted, until
from tidegate_testing.publisher import CHAT, Cluster, a_pod, edition, first_bundle, running_publisher

from tidegate_operator.certificates.bundle import Bundle
from tidegate_operator.publish.board import Published
from tidegate_policy import wire
from tidegate_policy.envelope import AsOf, Envelope, Tag
from tidegate_policy.model import CompiledConfig, WorkloadIdentity
from tidegate_policy.poll import AS_OF, REFUSED, Nack
from tidegate_sidecar.config.source import Missing

FIRST = configs.config(configs.pool(configs.provider("one", "http://one.test")))
SECOND = configs.config(configs.pool(configs.provider("two", "http://two.test")))
THIRD = configs.config(configs.pool(configs.provider("three", "http://three.test")))


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return first_bundle()


def tokens(cluster: Cluster) -> dict[str, str]:
    """Tokens that are refused, by what the sidecar is told."""
    return {
        "token_wrong_audience: the token is not meant for tidegate.dev/config but for \"['vault']\"": cluster.token(
            a_pod(), audience="vault"
        ),
        "token_unknown_key: signed with the key 'theirs', which is none of this cluster's": Cluster(
            a_pod(), key_id="theirs"
        ).token(a_pod()),
        "token_bad_signature": Cluster(a_pod()).token(a_pod()),
        "token_refused: the API server refuses the token: pod not found": cluster.token(a_pod("deleted")),
        "token_expired": cluster.token(a_pod(), life_s=-60),
        "token_missing": "",
    }


@pytest.mark.parametrize("number", range(6))
async def test_a_token_that_is_refused_changes_nothing_and_is_said_on_both_sides(
    cluster: Cluster, pod: Pod, caplog: pytest.LogCaptureFixture, number: int
) -> None:
    """A good one again, and the sidecar goes on where it was."""
    caplog.set_level(logging.INFO)
    message, token = list(tokens(cluster).items())[number]
    good = pod.token_file.read_text()
    async with running_publisher(cluster, wait_s=0.01) as operator:
        operator.board.publish(edition((CHAT, FIRST)))
        async with pod.following(operator.url, operator.bundle.trust) as follower:
            assert (await follower.loaded()).config == FIRST
            pod.token_file.write_text(token)
            assert f"the operator answers 401 {message}" in await follower.refused()
            assert follower.metric("tidegate_operator_connected") == 0
            await until(lambda: f"refused /v1/config from 127.0.0.1: {message[:15]}" in caplog.text)
            operator.board.publish(edition((CHAT, SECOND)))
            pod.token_file.write_text(good)
            assert (await follower.loaded()).config == SECOND
            await operator.ack(lambda ack: ack.digest == wire.digest(SECOND))
            assert follower.count == 3, "one problem is said once, however often it is met"
    assert not token or token not in caplog.text


async def test_a_pod_that_is_deleted_gets_nothing_more(cluster: Cluster, pod: Pod) -> None:
    """Its token is still good for a while; the pod is not there any more."""
    async with running_publisher(cluster, wait_s=0.01) as operator:
        operator.board.publish(edition((CHAT, FIRST)))
        async with pod.following(operator.url, operator.bundle.trust) as follower:
            await follower.loaded()
            cluster.pods.clear()
            operator.board.publish(edition((CHAT, SECOND)))
            await operator.observer.until(lambda it: it.results.get("pod_not_found", 0) >= 3)
            assert follower.count == 1
            operator.tokens.forget_pod("uid-chat-0")
            assert "token_refused" in await follower.refused()


async def test_a_sidecar_of_a_newer_schema_keeps_what_it_has_and_both_sides_say_so(
    cluster: Cluster, pod: Pod, caplog: pytest.LogCaptureFixture
) -> None:
    """The operator goes to a schema that this sidecar does not read, and back."""
    newer = Published.of(replace(SECOND, schema_version=2))
    async with running_publisher(cluster) as operator:
        operator.board.publish(edition((CHAT, FIRST), AIPolicy=1))
        async with pod.following(operator.url, operator.bundle.trust) as follower:
            await follower.loaded()
            await operator.until_idle(1)
            operator.board.publish(replace(edition(AIPolicy=2), published_for=lambda _: newer))
            why = "the operator writes schema version 2, the sidecar reads 1"
            assert f"the operator answers 406 schema_version: {why}" in await follower.refused()
            ack = await operator.ack(lambda ack: bool(ack.refused))
            assert (ack.digest, ack.refused) == (wire.digest(FIRST), newer.digest)
            assert why in ack.why
            assert f"pod team-a/chat-0 cannot use configuration {newer.digest[:12]}: {why}" in caplog.text
            operator.board.publish(edition((CHAT, THIRD), AIPolicy=3))
            assert (await follower.loaded()).config == THIRD, "the version that it reads"


async def test_of_two_replicas_the_one_that_lags_never_takes_a_sidecar_back(
    cluster: Cluster, pod: Pod, bundle: Bundle, caplog: pytest.LogCaptureFixture
) -> None:
    """The sidecar moves to a replica that has seen less: it keeps what it has until that one has caught up."""
    async with running_publisher(cluster, bundle=bundle, wait_s=0.01) as ahead:
        port = int(ahead.url.rpartition(":")[2])
        ahead.board.publish(edition((CHAT, FIRST), AIPolicy=5, Pod=5))
        async with pod.following(ahead.url, bundle.trust) as follower:
            await follower.loaded()
            ahead.board.publish(edition((CHAT, FIRST), AIPolicy=7, Pod=7))
            await ahead.observer.until(lambda it: it.results.get("unchanged", 0) >= 3)
            await ahead.server.stop(5)
            async with running_publisher(cluster, bundle=bundle, wait_s=0.01, port=port) as lagging:
                # Newer than the envelope that the sidecar took, older than what it was told since.
                lagging.board.publish(edition((CHAT, SECOND), AIPolicy=6, Pod=9))
                await lagging.observer.until(lambda it: it.results.get("behind", 0) >= 5)
                assert follower.count == 1
                assert lagging.behind == [AsOf.of(0, {"AIPolicy": 7, "Pod": 7})] * len(lagging.behind)
                assert 1 <= len(lagging.behind) <= 5
                assert "this replica has seen less than a sidecar (AIPolicy 6 < 7)" in caplog.text
                assert "this replica of the operator has seen less (AIPolicy 6 < 7)" in caplog.text
                lagging.board.publish(edition((CHAT, THIRD), AIPolicy=8, Pod=9))
                assert (await follower.loaded()).config == THIRD


async def test_a_restored_cluster_is_followed_by_its_epoch(cluster: Cluster, pod: Pod) -> None:
    async with running_publisher(cluster, wait_s=0.01) as operator:
        operator.board.publish(edition((CHAT, FIRST), AIPolicy=900))
        async with pod.following(operator.url, operator.bundle.trust) as follower:
            await follower.loaded()
            operator.board.publish(edition((CHAT, SECOND), AIPolicy=3))
            await operator.observer.until(lambda it: it.results.get("behind", 0) >= 2)
            operator.board.publish(edition((CHAT, SECOND), epoch=1, AIPolicy=3))
            assert (await follower.loaded()).config == SECOND


class Script:
    """An operator that answers from a list, the last for ever, and remembers what it was asked."""

    def __init__(self, *answers: web.Response) -> None:
        self.answers = list(answers)
        self.asked: list[dict[str, str]] = []

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        self.asked.append({name.lower(): value for name, value in request.headers.items()})
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return web.Response(status=answer.status, headers=answer.headers, body=answer.body)


def envelope(config: CompiledConfig, *, epoch: int = 0, digest: str = "", **versions: int) -> web.Response:
    whole = Envelope(config=config, identity=WorkloadIdentity(), as_of=AsOf.of(epoch, versions))
    tag = Tag(digest or wire.digest(config), "1")
    return web.Response(body=wire.encode(whole), headers={"etag": str(tag)})


async def test_an_operator_that_sends_something_older_is_not_believed(
    pod: Pod, bundle: Bundle, caplog: pytest.LogCaptureFixture
) -> None:
    script = Script(
        envelope(FIRST, AIPolicy=5),
        envelope(SECOND, AIPolicy=4),
        envelope(SECOND, AIPolicy=4),
        envelope(THIRD, AIPolicy=6),
    )
    async with (
        scripted(bundle, script) as url,
        pod.following(url, bundle.trust) as follower,
    ):
        assert (await follower.loaded()).config == FIRST
        assert (await follower.loaded()).config == THIRD
    assert "older than what is in force (AIPolicy 4 < 5): ignored" in caplog.text


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (envelope(SECOND, digest="0" * 64), "which is not what its tag says"),
        (envelope(replace(SECOND, schema_version=9)), "version 9, this process reads 1"),
        (
            web.Response(body=b'{"config": {}, "new": 1}', headers={"etag": str(Tag("1" * 64, "1"))}),
            "new: unknown field",
        ),
        (web.Response(body=b"<html>", headers={"etag": str(Tag("1" * 64, "1"))}), "not JSON"),
    ],
)
async def test_an_envelope_that_cannot_be_read_is_refused_with_its_reason(
    pod: Pod, bundle: Bundle, answer: web.Response, why: str
) -> None:
    script = Script(envelope(FIRST), answer, web.Response(status=304))
    async with scripted(bundle, script) as url, pod.following(url, bundle.trust) as follower:
        await follower.loaded()
        assert why in await follower.refused()
        await until(lambda: len(script.asked) >= 4)
    assert [REFUSED in asked for asked in script.asked[:4]] == [False, False, True, True]
    nack = Nack.parse(script.asked[2][REFUSED])
    assert nack.tag == Tag.parse(answer.headers["etag"])
    assert why in nack.why
    assert Tag.parse(script.asked[2]["if-none-match"]).digest == wire.digest(FIRST)


@pytest.mark.parametrize(
    "answer",
    [
        web.Response(status=500, body=b"<html>oops"),
        web.Response(status=503, body=b'{"code": "x", "message": "y"}', headers={"retry-after": "1"}),
        web.Response(body=wire.encode(CompiledConfig())),
        web.Response(status=200, headers={"etag": "W/x"}),
        web.Response(status=302, headers={"location": "https://elsewhere.test"}),
        web.Response(status=304, headers={AS_OF: "nonsense"}),
        web.Response(status=304, headers={"etag": "nonsense"}),
    ],
)
async def test_an_operator_that_talks_nonsense_is_asked_again(
    pod: Pod, bundle: Bundle, answer: web.Response
) -> None:
    script = Script(envelope(FIRST, AIPolicy=1), answer, answer, envelope(SECOND, AIPolicy=2))
    async with scripted(bundle, script) as url, pod.following(url, bundle.trust) as follower:
        assert (await follower.loaded()).config == FIRST
        while True:
            update = await follower.next()
            if getattr(update, "config", None) == SECOND:
                break
        assert follower.metric("tidegate_operator_connected") == 1


async def test_an_answer_without_end_is_cut(
    pod: Pod, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tidegate_sidecar.config.operator_poll.MAX_ENVELOPE_BYTES", 100_000)

    async def flood(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b"x" * 65_536)

    async with scripted(bundle, flood) as url, pod.following(url, bundle.trust) as follower:
        assert "longer than 100000 bytes" in await follower.refused()


async def test_files_that_are_missing_are_named(pod: Pod, bundle: Bundle) -> None:
    pod.token_file.unlink()
    async with pod.following("https://127.0.0.1:1", bundle.trust) as follower:
        assert f"TIDEGATE_TOKEN_FILE={pod.token_file}" in await follower.refused()
    pod.token_file.write_text("x")
    async with pod.following("https://127.0.0.1:1", "/nowhere/ca.crt") as follower:
        assert "TIDEGATE_OPERATOR_CA=/nowhere/ca.crt" in await follower.refused()
    async with pod.following("https://127.0.0.1:1", bundle.trust) as follower:
        reached = await follower.next()
        assert reached == Missing(
            problem="The operator cannot be reached at https://localhost:1: Connection refused"
        )


async def test_a_token_that_cannot_be_sent_does_not_get_into_a_log(
    pod: Pod, bundle: Bundle, caplog: pytest.LogCaptureFixture
) -> None:
    pod.token_file.write_text("first-line\nsecret-line")
    async with pod.following("https://127.0.0.1:1", bundle.trust) as follower:
        problem = await follower.refused()
    assert "secret-line" not in problem + caplog.text
