"""Pods under no policy, where the platform lets their calls go: from the operator's setting to the provider's socket."""

import asyncio
import base64
import json
from collections.abc import Callable
from pathlib import Path

import aiohttp
from tidegate_testing.fixtures import simulator
from tidegate_testing.operators import Cluster, OperatorProcess, injected_pod, policy, pool
from tidegate_testing.polling import PollingSidecar
from tidegate_testing.program import started

from tidegate_cli.simulator.server import Simulator
from tidegate_operator.cluster.secrets import CERTIFICATES
from tidegate_policy.poll import AUDIENCE

Operators = Callable[..., OperatorProcess]

__all__ = ["simulator"]

LET = {"TIDEGATE_UNMATCHED": "PassThrough", "TIDEGATE_PASS_THROUGH_URLS": "OpenAI=http://127.0.0.1:1/v1"}
KEY = "sk-of-the-application-0123456789"


def test_only_a_pod_under_no_policy_is_let_through(
    cluster: Cluster, operator: Operators, team: str, home: str
) -> None:
    """A policy that comes ends it, a suspended one and a broken one deny, a deleted one lets through again."""
    replica = operator(**LET).wait_ready()
    cluster.apply(pool(team), injected_pod(team, "stray"))
    sidecar = PollingSidecar(cluster, home, team, "stray")

    def becomes(what: str, *, passes: bool, denials: list[str]) -> None:
        def is_so() -> bool:
            sidecar.poll(replica)
            return (
                sidecar.envelope is not None
                and sidecar.envelope.config.pass_through is passes
                and sidecar.denials == denials
            )

        replica.until(is_so, what)

    becomes("passing through", passes=True, denials=[])
    assert sidecar.envelope is not None
    (only,) = sidecar.envelope.config.pools
    assert "http://127.0.0.1:1/v1" in {it.base_url for it in only.providers}

    cluster.apply(policy(team))
    becomes("the policy", passes=False, denials=[])
    cluster.apply(policy(team, suspend=True))
    becomes("the kill switch", passes=False, denials=["suspended"])
    cluster.apply(policy(team, poolRefs=[{"name": "gone"}]))
    becomes("a missing pool", passes=False, denials=["no_policy"])
    cluster.delete("aipolicy", team, "chat")
    becomes("passing through again", passes=True, denials=[])


async def test_a_sidecar_changes_with_the_setting_and_is_not_restarted(
    cluster: Cluster, operator: Operators, team: str, home: str, tmp_path: Path, simulator: Simulator
) -> None:
    """The real sidecar process, the real operator started anew with another setting, and a provider that answers."""
    urls = {"TIDEGATE_PASS_THROUGH_URLS": f"OpenAI={simulator.provider_url('public')}/v1"}
    refusing = operator(**urls)
    await asyncio.to_thread(refusing.wait_ready)
    cluster.apply(injected_pod(team, "stray"))
    token = tmp_path / "token"
    token.write_text(cluster.control_plane.token(team, "default", AUDIENCE, pod="stray"))
    secret = cluster.get("secret", home, CERTIFICATES)
    trust = base64.b64decode(secret["data"]["ca.crt"]).decode()
    async with (
        started(
            TIDEGATE_OPERATOR_URL=f"https://127.0.0.1:{refusing.config_port}",
            TIDEGATE_OPERATOR_CA=trust,
            TIDEGATE_TOKEN_FILE=str(token),
            TIDEGATE_STATE_DIR=str(tmp_path / "state"),
            TIDEGATE_RECONNECT_MS="50",
            TIDEGATE_RECONNECT_MAX_MS="200",
        ) as program,
        aiohttp.ClientSession(headers={"authorization": f"Bearer {KEY}"}) as client,
    ):
        await program.logs(b"is in force")
        body = {"model": "gpt-anything", "messages": [{"role": "user", "content": "hello"}]}
        url = f"{program.url}/openai/v1/chat/completions"
        async with client.post(url, json=body) as answer:
            assert (answer.status, (await answer.json())["error"]["code"]) == (403, "no_policy")

        await asyncio.to_thread(refusing.stop)
        letting = operator(
            **urls, TIDEGATE_UNMATCHED="PassThrough", TIDEGATE_LISTEN=f"127.0.0.1:{refusing.config_port}"
        )
        await asyncio.to_thread(letting.wait_ready)
        await program.logs(b"is in force")
        async with client.post(url, json=body) as answer:
            assert answer.status == 200
        assert simulator.requests[-1].headers["authorization"] == f"Bearer {KEY}"
        async with client.get(f"{program.admin_url}/metrics") as answer:
            assert 'tidegate_pass_through_total{ending="served",provider="openai"} 1.0' in await answer.text()
        program.process.terminate()
        _, records = await program.ended()
        assert [(it.get("policy"), it["ending"]) for it in records] == [(None, "refused"), ("none", "served")]
        assert KEY not in json.dumps(records) + program.logged.decode()
