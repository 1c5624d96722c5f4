"""Who asks: each way in which a token can be wrong is told apart, and the API server is asked once per token."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass, field

import jwt
import pytest
from tidegate_testing.publisher import ISSUER, Cluster, a_pod

from tidegate_operator.publish.identity import Refused, Reviewed
from tidegate_operator.publish.keys import SigningKeys
from tidegate_operator.publish.tokens import Caller, Denied, TokenVerifier

POD = a_pod()


@dataclass
class Bench:
    """A verifier, the cluster it asks, and the two clocks."""

    cluster: Cluster
    now_ns: int = field(default_factory=time.time_ns)
    steady_ns: int = 0
    verifier: TokenVerifier = field(init=False)

    def __post_init__(self) -> None:
        keys = SigningKeys(self.cluster, monotonic_ns=lambda: self.steady_ns)
        self.verifier = TokenVerifier(
            keys, self.cluster, wall_ns=lambda: self.now_ns, reviews_at_once=3, review_s=5, max_known=20
        )

    def advance(self, seconds: float) -> None:
        self.now_ns += int(seconds * 1e9)
        self.steady_ns += int(seconds * 1e9)

    async def code(self, token: str) -> str:
        verdict = await self.verifier.verify(token)
        return verdict.code if isinstance(verdict, Denied) else "good"


@pytest.fixture
def bench() -> Bench:
    return Bench(Cluster(POD))


async def test_a_good_token_stands_for_its_pod_and_is_reviewed_once(bench: Bench) -> None:
    token = bench.cluster.token(POD)
    for _ in range(5):
        assert await bench.verifier.verify(token) == Caller(
            namespace="team-a", service_account="chat", pod_name="chat-0", pod_uid="uid-chat-0"
        )
    assert bench.cluster.reviews == 1


async def test_each_wrong_token_is_refused_for_what_is_wrong(bench: Bench) -> None:
    cluster = bench.cluster
    elsewhere = Cluster(POD, key_id="theirs")
    same_id = Cluster(POD)
    now_s = int(time.time())
    wrong = {
        "": "token_missing",
        "nonsense": "token_malformed",
        "a.b.c": "token_malformed",
        "\udcff": "token_malformed",
        "x" * 9_000: "token_malformed",
        cluster.token(POD, audience="vault"): "token_wrong_audience",
        cluster.token(POD, iss="https://elsewhere"): "token_wrong_issuer",
        cluster.token(POD, life_s=-60): "token_expired",
        cluster.token(POD, nbf=now_s + 600): "token_not_yet_valid",
        cluster.token(POD, exp="soon"): "token_malformed",
        elsewhere.token(POD): "token_unknown_key",
        same_id.token(POD): "token_bad_signature",
        cluster.sign({"iss": ISSUER, "aud": "tidegate.dev/config"}): "token_malformed",
        jwt.encode({"iss": ISSUER}, key="", algorithm="none"): "token_malformed",
    }
    assert {token: await bench.code(token) for token in wrong} == wrong
    assert cluster.reviews == 2, (
        "what is wrong by itself costs the API server nothing; keys and issuers are its to judge"
    )


async def test_a_second_issuer_is_accepted_as_the_api_server_does(bench: Bench) -> None:
    """Managed clusters add one when OIDC is switched on: the document names the new one, and both sign with one key."""
    cluster = bench.cluster
    before = cluster.token(POD)
    assert await bench.code(before) == "good"
    cluster.published_issuers = ("https://oidc.example",)
    cluster.accepted_issuers.add("https://oidc.example")
    bench.advance(10)
    assert await bench.code(cluster.token(POD, iss="https://oidc.example")) == "good"
    assert await bench.code(cluster.token(POD)) == "good", "tokens of the former issuer live on"
    assert await bench.code(cluster.token(POD, iss="https://elsewhere")) == "token_wrong_issuer"


async def test_a_key_that_is_published_no_more_is_the_api_servers_to_judge(bench: Bench) -> None:
    """Keys were rotated: the API server goes on accepting what it signed before."""
    cluster = bench.cluster
    old = cluster.token(POD)
    cluster.rotate("key-2")
    cluster.hidden_keys.add("key-1")
    assert await bench.code(old) == "good"
    assert await bench.code(old) == "good"
    assert cluster.reviews == 1
    assert await bench.code(Cluster(POD, key_id="theirs").token(POD)) == "token_unknown_key"


async def test_what_strangers_can_ask_of_the_api_server_is_bounded() -> None:
    cluster = Cluster(POD)
    keys = SigningKeys(cluster, monotonic_ns=lambda: 0)
    verifier = TokenVerifier(keys, cluster, strangers=3)
    strangers = Cluster(POD, key_id="theirs")
    verdicts = [await verifier.verify(strangers.token(POD)) for _ in range(5)]
    assert [it.code for it in verdicts if isinstance(it, Denied)] == [
        *["token_unknown_key"] * 3,
        *["too_many_unknown_keys"] * 2,
    ]
    assert cluster.reviews == 3
    assert isinstance(await verifier.verify(cluster.token(POD)), Caller), "those with a known key are served"


async def test_a_public_key_can_not_be_used_as_a_shared_secret(bench: Bench) -> None:
    """The classic forgery: a token signed with HMAC and the public key, which anybody can read."""
    forged = jwt.encode(
        {"iss": ISSUER, "aud": "tidegate.dev/config", "exp": int(time.time()) + 60},
        key="0" * 64,
        algorithm="HS256",
        headers={"kid": "key-1"},
    )
    assert await bench.code(forged) == "token_malformed"


async def test_a_wrong_audience_is_named(bench: Bench) -> None:
    verdict = await bench.verifier.verify(bench.cluster.token(POD, audience="vault"))
    assert isinstance(verdict, Denied)
    assert verdict.message == "the token is not meant for tidegate.dev/config but for \"['vault']\""


async def test_the_token_of_a_deleted_pod_is_refused_by_the_api_server(bench: Bench) -> None:
    token = bench.cluster.token(a_pod("gone"))
    assert await bench.code(token) == "token_refused"
    assert await bench.code(token) == "token_refused"
    assert bench.cluster.reviews == 1, "a refusal is remembered for a while"
    bench.advance(11)
    assert await bench.code(token) == "token_refused"
    assert bench.cluster.reviews == 2


async def test_a_deleted_pod_is_reviewed_again(bench: Bench) -> None:
    token = bench.cluster.token(POD)
    assert await bench.code(token) == "good"
    bench.cluster.pods.clear()
    bench.verifier.forget_pod(POD.uid)
    assert await bench.code(token) == "token_refused"


async def test_a_token_is_good_until_it_ends(bench: Bench) -> None:
    token = bench.cluster.token(POD, life_s=600)
    assert await bench.code(token) == "good"
    bench.advance(599)
    assert await bench.code(token) == "good"
    assert bench.cluster.reviews == 1
    bench.advance(60)
    assert await bench.code(token) == "token_expired"


async def test_what_is_known_is_bounded(bench: Bench) -> None:
    for _ in range(50):
        assert await bench.code(bench.cluster.token(POD)) == "good"
    assert repr(bench.verifier) == "<TokenVerifier 20 tokens known>"
    assert len(bench.verifier._by_pod[POD.uid]) == 20


async def test_an_unknown_key_is_looked_for_at_most_every_ten_seconds(bench: Bench) -> None:
    assert await bench.code(bench.cluster.token(POD)) == "good"
    strangers = Cluster(POD, key_id="theirs")
    for _ in range(20):
        assert await bench.code(strangers.token(POD)) == "token_unknown_key"
    assert bench.cluster.key_reads == 1
    bench.cluster.rotate("key-2")
    bench.advance(10)
    assert await bench.code(bench.cluster.token(POD)) == "good"
    assert bench.cluster.key_reads == 2


async def test_many_tokens_at_once_read_the_keys_once(bench: Bench) -> None:
    tokens = [bench.cluster.token(POD) for _ in range(15)]
    assert set(await asyncio.gather(*map(bench.code, tokens))) == {"good"}
    assert bench.cluster.key_reads == 1


async def test_keys_that_cannot_be_read_are_a_problem_of_ours(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    bench.cluster.is_down = True
    verdict = await bench.verifier.verify(bench.cluster.token(POD))
    assert isinstance(verdict, Denied)
    assert (verdict.status, verdict.code, verdict.is_temporary) == (503, "keys_unavailable", True)
    assert "the API server is away" in caplog.text
    bench.cluster.is_down = False
    bench.advance(10)
    assert await bench.code(bench.cluster.token(POD)) == "good"


async def test_known_keys_stay_good_while_new_ones_cannot_be_read(bench: Bench) -> None:
    known = bench.cluster.token(POD)
    assert await bench.code(known) == "good"
    bench.cluster.is_down = True
    bench.advance(10)
    assert await bench.code(Cluster(POD, key_id="theirs").token(POD)) == "review_unavailable"
    assert await bench.code(known) == "good"


async def test_an_api_server_that_is_away_is_no_verdict(bench: Bench) -> None:
    assert await bench.code(bench.cluster.token(POD)) == "good"
    bench.cluster.is_down = True
    token = bench.cluster.token(POD)
    assert await bench.code(token) == "review_unavailable"
    bench.cluster.is_down = False
    assert await bench.code(token) == "good"


class SlowReviewer:
    """Counts how many reviews run at once."""

    def __init__(self) -> None:
        self.running = self.most = 0

    async def review(self, token: str) -> Reviewed | Refused:
        self.running += 1
        self.most = max(self.most, self.running)
        for _ in range(5):
            await asyncio.sleep(0)
        self.running -= 1
        return Reviewed(namespace="team-a", service_account="chat", pod_name=token[-4:], pod_uid="u")


async def test_reviews_at_once_are_bounded(bench: Bench) -> None:
    reviewer = SlowReviewer()
    verifier = TokenVerifier(SigningKeys(bench.cluster), reviewer, reviews_at_once=3)
    tokens = [bench.cluster.token(POD) for _ in range(20)]
    verdicts = await asyncio.gather(*map(verifier.verify, tokens))
    assert all(isinstance(verdict, Caller) for verdict in verdicts)
    assert reviewer.most == 3


async def test_a_review_that_never_ends_is_given_up(bench: Bench) -> None:
    bench.cluster.may_review.clear()
    verifier = TokenVerifier(SigningKeys(bench.cluster), bench.cluster, review_s=0.01)
    verdict = await verifier.verify(bench.cluster.token(POD))
    assert isinstance(verdict, Denied)
    assert verdict.code == "review_unavailable"


async def test_an_api_server_that_quotes_the_token_does_not_get_it_into_a_log(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    class Quoting:
        async def review(self, token: str) -> Reviewed | Refused:
            raise ConnectionError(f"cannot review {token}")

    verifier = TokenVerifier(SigningKeys(bench.cluster), Quoting())
    token = bench.cluster.token(POD)
    await verifier.verify(token)
    assert "cannot review …" in caplog.text
    assert token not in caplog.text
