"""A poll over TLS: who gets what, when it is answered, and how problems look.

Left out: what is decided (test_answers), what tokens are worth (test_tokens).
"""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import replace

import aiohttp
import pytest
from tidegate_testing import configs
from tidegate_testing.publisher import (
    CHAT,
    OPERATOR,
    PLAN,
    Cluster,
    Poll,
    Poller,
    Publisher,
    a_pod,
    a_report,
    edition,
    running_publisher,
)

from tidegate_operator.certificates.plan import next_step
from tidegate_operator.index.snapshot import Workload
from tidegate_operator.publish.identity import ServiceAccount
from tidegate_operator.publish.reports import to_report
from tidegate_policy import wire
from tidegate_policy.envelope import AsOf, Secrets, Tag
from tidegate_policy.model import WorkloadIdentity
from tidegate_policy.poll import Nack, format_as_of

FIRST = configs.config(configs.pool(configs.provider("one", "http://one.test")))
SECOND = configs.config(configs.pool(configs.provider("two", "http://two.test")))
DAY_S = 86_400


async def test_a_pod_gets_its_configuration_and_who_it_is(
    publisher: Publisher, poller: Poller, token: str
) -> None:
    publisher.board.publish(edition((CHAT, FIRST), AIPolicy=7))
    answer = await poller.poll(token)
    assert answer.status == 200
    assert answer.envelope.config == FIRST
    assert answer.envelope.identity == WorkloadIdentity(
        namespace="team-a",
        workload_kind="Deployment",
        workload_name="chat",
        service_account="chat",
        pod="chat-0",
    )
    assert answer.envelope.as_of == AsOf.of(0, {"AIPolicy": 7})
    assert answer.envelope.trust == publisher.bundle.trust
    assert Tag.parse(answer.tag).digest == wire.digest(FIRST)


async def test_a_pod_gets_the_secrets_of_its_own_namespace_alone(
    publisher: Publisher, poller: Poller, token: str
) -> None:
    both = {"team-a": Secrets(generation="ours"), "team-b": Secrets(generation="theirs")}
    publisher.board.publish(replace(edition((CHAT, FIRST)), secrets=both))
    answer = await poller.poll(token)
    assert answer.envelope.secrets.generation == "ours"
    changed = {**both, "team-b": Secrets(generation="theirs, renewed")}
    publisher.board.publish(replace(edition((CHAT, FIRST)), secrets=changed))
    assert (await poller.poll(token)).tag == answer.tag, "what others get is no news"


async def test_a_pod_can_not_ask_for_the_configuration_of_another(
    publisher: Publisher, poller: Poller, cluster: Cluster
) -> None:
    """The pod of the token decides; nothing that a request says about pods or workloads is looked at."""
    other = Workload(namespace="team-b", kind="Deployment", name="other", service_account="other")
    cluster.pods["uid-other-0"] = a_pod("other-0", other)
    publisher.board.publish(edition((CHAT, FIRST), (other, SECOND)))
    mine = await poller.poll(cluster.token(a_pod()), x_tidegate_workload="team-b/Deployment/other")
    theirs = await poller.poll(cluster.token(a_pod("other-0", other)))
    assert (mine.envelope.config, theirs.envelope.config) == (FIRST, SECOND)


async def test_a_poll_waits_for_the_next_edition(publisher: Publisher, poller: Poller, token: str) -> None:
    publisher.board.publish(edition((CHAT, FIRST)))
    first = await poller.poll(token)
    async with asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(poller.poll(token, wait_s=30, if_none_match=first.tag))
        await publisher.until_idle(1)
        publisher.board.publish(edition((CHAT, SECOND)))
    assert waiting.result().envelope.config == SECOND


async def test_a_poll_with_nothing_new_ends_with_304_and_the_moment(cluster: Cluster, token: str) -> None:
    async with running_publisher(cluster, wait_s=0.05) as publisher, Poller(publisher) as poller:
        publisher.board.publish(edition((CHAT, FIRST), AIPolicy=7))
        first = await poller.poll(token)
        publisher.board.publish(edition((CHAT, FIRST), AIPolicy=8))
        answer = await poller.poll(token, wait_s=1, if_none_match=first.tag)
        assert (answer.status, answer.tag) == (304, first.tag)
        assert answer.headers["x-tidegate-as-of"] == format_as_of(AsOf.of(0, {"AIPolicy": 8}))


async def test_a_poll_wakes_for_its_own_workload_alone(
    publisher: Publisher, poller: Poller, cluster: Cluster
) -> None:
    other = Workload(namespace="team-b", kind="Deployment", name="other", service_account="other")
    cluster.pods["uid-other-0"] = a_pod("other-0", other)
    publisher.board.publish(edition((CHAT, FIRST), (other, FIRST)))
    mine, theirs = cluster.token(a_pod()), cluster.token(a_pod("other-0", other))
    tags = [(await poller.poll(token)).tag for token in (mine, theirs)]
    async with asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(poller.poll(mine, wait_s=30, if_none_match=tags[0]))
        idle = tasks.create_task(poller.poll(theirs, wait_s=30, if_none_match=tags[1]))
        await publisher.until_idle(2)
        publisher.board.publish(edition((CHAT, SECOND), (other, FIRST)))
        assert (await waiting).status == 200
        assert publisher.board.waiting == 1
        assert not idle.done()
        publisher.board.publish(edition((CHAT, SECOND), (other, SECOND)))


async def test_500_idle_polls_are_all_answered_by_one_publish(cluster: Cluster) -> None:
    pods = [a_pod(f"chat-{number}") for number in range(500)]
    cluster.pods = {pod.uid: pod for pod in pods}
    async with running_publisher(cluster) as publisher, Poller(publisher) as poller:
        publisher.board.publish(edition((CHAT, FIRST)))
        tokens = [cluster.token(pod) for pod in pods]
        async with asyncio.TaskGroup() as tasks:
            firsts = [tasks.create_task(poller.poll(token)) for token in tokens]
        async with asyncio.TaskGroup() as tasks:
            polls = [
                tasks.create_task(poller.poll(token, wait_s=50, if_none_match=first.result().tag))
                for token, first in zip(tokens, firsts, strict=True)
            ]
            await publisher.until_idle(500)
            publisher.board.publish(edition((CHAT, SECOND)))
        assert {poll.result().envelope.config for poll in polls} == {SECOND}
        assert cluster.reviews == 500, "a token is reviewed once in its life"


async def test_certificates_rotate_while_polls_are_open_and_none_is_lost(
    cluster: Cluster, token: str
) -> None:
    """Whoever trusted the operator before a step can connect after it, and a poll that waits is answered."""
    now_s = int(time.time())
    plan = replace(PLAN, authority_life_s=30 * DAY_S, leaf_life_s=10 * DAY_S, announce_s=60)
    bundle = next_step(None, plan, now_s - 21 * DAY_S)
    renewed = next_step(bundle, plan, now_s)
    assert renewed is not None
    async with running_publisher(cluster, bundle=renewed) as publisher, Poller(publisher) as poller:
        for number, at_s in enumerate((now_s, now_s + 61, now_s + 11 * DAY_S)):
            publisher.board.publish(edition((CHAT, FIRST), AIPolicy=2 * number))
            before = await poller.poll(token)
            async with asyncio.TaskGroup() as tasks:
                waiting = tasks.create_task(poller.poll(token, wait_s=30, if_none_match=before.tag))
                await publisher.until_idle(1)
                step = next_step(publisher.bundle, plan, at_s)
                assert step is not None
                publisher.use(step)
            told = waiting.result().envelope.trust
            assert told == step.trust != before.envelope.trust, "a change of trust wakes whoever waits"
            for trust in (before.envelope.trust, told):
                async with Poller(publisher, trust) as connecting:
                    assert (await connecting.poll(token)).status == 200
        assert publisher.bundle.authority != renewed.authority
        assert not publisher.bundle.former
        async with Poller(publisher, renewed.trust) as outdated:
            with pytest.raises(aiohttp.ClientConnectorCertificateError):
                await outdated.poll(token)


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({"authorization": ""}, 401, "token_missing"),
        ({"authorization": "Basic Zm9v"}, 401, "token_missing"),
        ({"x_tidegate_schema_versions": ""}, 400, "bad_request"),
        ({"x_tidegate_schema_versions": "one"}, 400, "bad_request"),
        ({"x_tidegate_as_of": "yesterday"}, 400, "bad_request"),
        ({"if_none_match": "W/abc"}, 400, "bad_request"),
        ({"x_tidegate_refused": "nonsense"}, 400, "bad_request"),
        ({"x_tidegate_schema_versions": "2, 3"}, 406, "schema_version"),
        ({"path": "/v1/other"}, 404, "not_found"),
        ({"method": "PUT"}, 404, "not_found"),
    ],
)
async def test_problems_have_a_status_a_code_and_a_message(
    publisher: Publisher, poller: Poller, token: str, headers: dict[str, str], status: int, code: str
) -> None:
    publisher.board.publish(edition((CHAT, FIRST)))
    answer = await poller.poll(token, **headers)  # type: ignore[arg-type] # two of them are no headers
    assert (answer.status, answer.code) == (status, code)


async def test_without_a_compile_the_sidecar_is_told_to_come_back_soon(cluster: Cluster, token: str) -> None:
    async with running_publisher(cluster, wait_s=0.05) as publisher, Poller(publisher) as poller:
        for _ in range(2):
            answer = await poller.poll(token, wait_s=1)
            assert (answer.status, answer.code, answer.headers["retry-after"]) == (503, "not_compiled", "1")
            publisher.board.publish(edition())


async def test_a_workload_that_is_compiled_later_is_answered_then(
    publisher: Publisher, poller: Poller, token: str
) -> None:
    publisher.board.publish(edition())
    async with asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(poller.poll(token, wait_s=30))
        await publisher.until_idle(1)
        publisher.board.publish(edition((CHAT, FIRST)))
    assert waiting.result().envelope.config == FIRST


async def test_a_pod_that_runs_as_another_account_is_refused(
    publisher: Publisher, poller: Poller, cluster: Cluster, token: str
) -> None:
    publisher.board.publish(edition((CHAT, FIRST)))
    cluster.pods["uid-chat-0"] = a_pod(service_account="other")
    assert (await poller.poll(token)).code == "wrong_service_account"


async def test_a_pod_that_is_deleted_while_it_waits_gets_nothing_more(
    publisher: Publisher, poller: Poller, cluster: Cluster, token: str
) -> None:
    publisher.board.publish(edition((CHAT, FIRST)))
    first = await poller.poll(token)
    async with asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(poller.poll(token, wait_s=30, if_none_match=first.tag))
        await publisher.until_idle(1)
        cluster.pods.clear()
        publisher.board.publish(edition((CHAT, SECOND)))
    assert (waiting.result().status, waiting.result().code) == (404, "pod_not_found")


async def test_what_a_pod_says_is_noted(publisher: Publisher, poller: Poller, token: str) -> None:
    publisher.board.publish(edition((CHAT, FIRST)))
    first = await poller.poll(token)
    publisher.board.publish(edition((CHAT, SECOND)))
    second = await poller.poll(token, if_none_match=first.tag)
    nack = Nack(Tag.parse(second.tag), "it cannot be built: größer")
    await poller.poll(token, if_none_match=first.tag, x_tidegate_refused=str(nack))
    report = publisher.book.get("uid-chat-0")
    assert report is not None
    ack = report.ack
    assert (ack.digest, ack.refused, ack.why) == (wire.digest(FIRST), wire.digest(SECOND), nack.why)


async def test_a_sidecar_that_refused_is_not_sent_the_same_again(cluster: Cluster, token: str) -> None:
    async with running_publisher(cluster, wait_s=0.05) as publisher, Poller(publisher) as poller:
        publisher.board.publish(edition((CHAT, FIRST)))
        tag = (await poller.poll(token)).tag
        nack = str(Nack(Tag.parse(tag), "no"))
        answer = await poller.poll(token, wait_s=1, x_tidegate_refused=nack)
        assert answer.status == 304
        assert publisher.observer.results["refused_by_sidecar"] == 1


async def test_a_sidecar_that_reads_no_version_counts_as_refusing(
    publisher: Publisher, poller: Poller, token: str
) -> None:
    publisher.board.publish(edition((CHAT, FIRST)))
    answer = await poller.poll(token, x_tidegate_schema_versions="2")
    assert b"the operator writes schema version 1, the sidecar reads 2" in answer.body
    report = publisher.book.get("uid-chat-0")
    assert report is not None
    ack = report.ack
    assert ack.refused == wire.digest(FIRST)
    assert "reads 2" in ack.why


async def test_a_stopping_replica_sends_polls_elsewhere(cluster: Cluster, token: str) -> None:
    async with running_publisher(cluster) as publisher, Poller(publisher) as poller:
        publisher.board.publish(edition((CHAT, FIRST)))
        tag = (await poller.poll(token)).tag
        async with asyncio.TaskGroup() as tasks:
            waiting = [tasks.create_task(poller.poll(token, wait_s=30, if_none_match=tag)) for _ in range(5)]
            await publisher.until_idle(5)
            await publisher.server.stop(5)
        for answer in (poll.result() for poll in waiting):
            assert (answer.status, answer.code) == (503, "stopping")
            assert answer.headers["retry-after"] == "5"
            assert answer.headers["connection"] == "close"


async def test_a_pod_may_have_few_polls_and_a_replica_many(cluster: Cluster, token: str) -> None:
    async with (
        running_publisher(cluster, polls_of_a_pod=2, polls=3) as publisher,
        Poller(publisher) as poller,
    ):
        publisher.board.publish(edition((CHAT, FIRST)))
        tag = (await poller.poll(token)).tag
        async with asyncio.TaskGroup() as tasks:
            for _ in range(2):
                tasks.create_task(poller.poll(token, wait_s=30, if_none_match=tag))
            await publisher.until_idle(2)
            assert (await poller.poll(token)).code == "too_many_polls_of_a_pod"
            cluster.may_review.clear()
            tasks.create_task(poller.poll(cluster.token(a_pod())))
            await publisher.observer.until(lambda it: it.open == 3)
            assert (await poller.poll(token)).code == "too_many_polls"
            cluster.may_review.set()
            publisher.board.publish(edition((CHAT, SECOND)))
        assert publisher.observer.open == 0


async def test_a_poll_whose_sidecar_hangs_up_leaves_nothing_behind(
    publisher: Publisher, poller: Poller, token: str
) -> None:
    publisher.board.publish(edition((CHAT, FIRST)))
    tag = (await poller.poll(token)).tag
    task = asyncio.get_running_loop().create_task(poller.poll(token, wait_s=30, if_none_match=tag))
    await publisher.until_idle(1)
    task.cancel()
    await publisher.observer.until(lambda it: it.open == 0)
    assert publisher.board.waiting == 0


async def test_no_token_gets_into_a_log(
    publisher: Publisher, poller: Poller, cluster: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    publisher.board.publish(edition((CHAT, FIRST)))
    tokens = [
        cluster.token(a_pod()),
        cluster.token(a_pod(), audience="vault"),
        cluster.token(a_pod("gone")),
        cluster.token(a_pod(), life_s=-100),
        Cluster(a_pod(), key_id="other").token(a_pod()),
    ]
    answers = [await poller.poll(token) for token in tokens]
    assert [answer.status for answer in answers] == [200, 401, 401, 401, 401]
    for token in tokens:
        assert token.rpartition(".")[2] not in caplog.text
        assert token not in caplog.text
        assert not any(token.encode() in answer.body for answer in answers)


async def test_another_replica_reports_its_acks(
    publisher: Publisher, poller: Poller, cluster: Cluster
) -> None:
    body = wire.encode(to_report([a_report(pod_uid="far", digest="abc", seen_ns=5)], 5))

    async def post(token: str, data: bytes = body) -> Poll:
        async with poller.session.post(
            publisher.url + "/v1/acks",
            data=data,
            headers={"authorization": f"Bearer {token}"},
            ssl=poller._tls,
        ) as response:
            return Poll(response.status, response.headers, await response.read())

    assert (await post(cluster.token(a_pod()))).code == "not_an_operator"
    assert (await post(cluster.operator_token(ServiceAccount("team-a", OPERATOR.name)))).status == 403
    assert (await post(cluster.operator_token(), b"{}")).code == "bad_request"
    assert publisher.book.get("far") is None
    assert (await post(cluster.operator_token())).status == 204
    report = publisher.book.get("far")
    assert report is not None
    ack = report.ack
    assert ack.digest == "abc"


async def test_now_and_then_an_answer_closes_its_connection(cluster: Cluster, token: str) -> None:
    """Otherwise all sidecars would stay with the replica that came back first."""
    async with running_publisher(cluster, close_one_in=1) as publisher, Poller(publisher) as poller:
        publisher.board.publish(edition((CHAT, FIRST)))
        assert (await poller.poll(token)).headers["connection"] == "close"
