"""The oldest Kubernetes that the chart promises takes our definitions as they are, and objects by them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tidegate_cluster.waiting import wait_until
from tidegate_samples.derived import spec_samples
from tidegate_samples.fixtures import DEFINITIONS, apply_crd
from tidegate_samples.fullest import fullest_pool
from tidegate_samples.places import changed, valid_documents
from tidegate_samples.server import Server, collection

from tidegate_operator.api.crd import custom_resource_definition
from tidegate_operator.api.kinds import KINDS, Kind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tidegate_cluster.oldest import OldestServer

CHART = Path(__file__).parents[2] / "charts" / "tidegate" / "Chart.yaml"
LIMIT_S = 30

kinds = pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: kind.name)


@pytest.fixture(scope="module")
def oldest(oldest_server: OldestServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A connection to it, with our definitions applied and served."""
    server = Server(oldest_server.kubeconfig, tmp_path_factory.mktemp("client"))
    for kind in KINDS.values():
        reply = apply_crd(server, kind)
        assert (reply.complaints, reply.warnings) == ([], [])
    wait_until(
        lambda: all(server.send("GET", collection(kind)).status == 200 for kind in KINDS.values()),
        within_s=LIMIT_S,
        what="our kinds",
    )
    yield server
    server.close()


def test_it_is_the_one_that_the_chart_promises(oldest_server: OldestServer) -> None:
    promised = re.search(
        r'^kubeVersion: ">=(\d+\.\d+)\.0-0"$', CHART.read_text(encoding="utf-8"), re.MULTILINE
    )
    assert promised is not None
    assert oldest_server.version.startswith(f"v{promised[1]}.")


@kinds
def test_the_schema_in_force_is_that_of_the_newest(oldest: Server, kind: Kind) -> None:
    """What an older server does not know of a definition it drops in silence."""
    crd = oldest.send("GET", f"{DEFINITIONS}/{kind.crd_name}").document
    (ours,) = custom_resource_definition(kind)["spec"]["versions"]
    (theirs,) = crd["spec"]["versions"]
    assert theirs["schema"] == ours["schema"]
    assert theirs["additionalPrinterColumns"] == ours["additionalPrinterColumns"]
    conditions = {it["type"]: it["status"] for it in crd["status"]["conditions"]}
    assert conditions == {"NamesAccepted": "True", "Established": "True"}


@kinds
def test_valid_objects_are_accepted(oldest: Server, kind: Kind) -> None:
    for document in valid_documents(kind):
        reply = oldest.try_out(kind, document)
        assert (reply.complaints, reply.warnings) == ([], [])


@kinds
def test_every_sample_is_accepted_and_rejected_as_by_the_newest(oldest: Server, kind: Kind) -> None:
    """On either side of each bound, each rule and each spelling."""
    samples = [it for it in spec_samples() if it.kind is kind]
    for sample in samples:
        complaints = oldest.try_out(kind, sample.document).complaints
        assert (complaints != []) == (sample.said != ""), (sample.name, complaints)
    assert samples != []


def test_the_fullest_pool_that_a_request_can_bring_is_read_to_its_end(oldest: Server) -> None:
    assert oldest.try_out(KINDS["ProviderPool"], fullest_pool()).complaints == []


@pytest.mark.parametrize(
    ("name", "path", "value", "said"),
    [
        (
            "AIPolicy",
            ("spec", "targetRefs"),
            [{"kind": "deployment", "name": "a"}],
            "expected a kind such as",
        ),
        (
            "AIPolicy",
            ("spec", "targetRefs"),
            [{"kind": "Deployment", "name": "a"}],
            "exactly one of targetRefs and selector",
        ),
        ("ProviderPool", ("spec", "timeouts"), {"connect": "5 s"}, "expected a duration: positive numbers"),
        (
            "ProviderPool",
            ("spec", "providers"),
            [{"name": "A", "type": "OpenAI"}],
            "expected a name of lower",
        ),
    ],
)
def test_what_is_wrong_is_refused_in_the_same_words(
    oldest: Server, name: str, path: tuple[str, ...], value: object, said: str
) -> None:
    kind = KINDS[name]
    complaints = oldest.try_out(kind, changed(valid_documents(kind)[0], path, value)).complaints
    assert any(said in complaint.message for complaint in complaints), complaints
