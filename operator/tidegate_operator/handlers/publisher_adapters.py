"""What the publisher asks of the cluster: adapters from its Protocols to the index, the client and the metrics."""

from __future__ import annotations

from prometheus_client import Counter, Gauge

from tidegate_operator.cluster import tokens
from tidegate_operator.cluster.client import ClusterClient
from tidegate_operator.index.pods import Pods
from tidegate_operator.publish.identity import KeySet, PodFacts, Refused, Reviewed
from tidegate_policy.poll import AUDIENCE


class Directory:
    """`PodDirectory` over the watched pods."""

    def __init__(self, pods: Pods) -> None:
        """Look into these."""
        self._pods = pods

    def find(self, namespace: str, name: str, uid: str) -> PodFacts | None:
        """The pod of this name and uid; None when it is gone, or when its workload is not known yet."""
        pod = self._pods.get(uid)
        if pod is None or (pod.namespace, pod.name) != (namespace, name):
            return None
        workload = self._pods.workload(pod)
        if workload is None:
            return None
        return PodFacts(
            name=pod.name,
            uid=pod.uid,
            workload=workload,
            service_account=pod.service_account,
            labels=workload.labels,
        )


class Reviewer:
    """`TokenReviewer` and `KeySource` through the API server."""

    def __init__(self, client: ClusterClient) -> None:
        """Ask through this client."""
        self._client = client

    async def review(self, token: str) -> Reviewed | Refused:
        """One TokenReview for our audience."""
        verdict = await tokens.review(self._client, token, AUDIENCE)
        if verdict.problem:
            return Refused(verdict.problem)
        return Reviewed(
            namespace=verdict.namespace,
            service_account=verdict.service_account,
            pod_name=verdict.pod_name,
            pod_uid=verdict.pod_uid,
        )

    async def keys(self) -> KeySet:
        """The keys of now."""
        issuer = await tokens.issuer(self._client)
        return KeySet(issuers=(issuer.name,), jwks=issuer.jwks)


class Observed:
    """`PublishObserver` into metrics."""

    def __init__(self, open_polls: Gauge, answers: Counter, forwards: Counter, unknown: Counter) -> None:
        """Count here."""
        self._unknown = unknown
        self._open_polls = open_polls
        self._answers = answers
        self._forwards = forwards

    def polls_open(self, count: int) -> None:
        """So many polls are open now."""
        self._open_polls.set(count)

    def answered(self, result: str) -> None:
        """A request was answered."""
        self._answers.labels(result).inc()

    def passed_over(self) -> None:
        """A message had a field that this release does not know."""
        self._unknown.inc()

    def forwarded(self, result: str) -> None:
        """A batch of acks was brought to the leader."""
        self._forwards.labels(result).inc()
