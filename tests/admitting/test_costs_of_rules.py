"""What the rules of our kinds cost by the server's own estimate, beside what it allows; the end of the run says how much."""

from __future__ import annotations

import copy
import re
from typing import TYPE_CHECKING, Any, Final

import pytest
from tidegate_samples.fixtures import DEFINITIONS
from tidegate_samples.fullest import fullest_pool

from tidegate_operator.api.crd import custom_resource_definition
from tidegate_operator.api.kinds import KINDS, Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tidegate_samples.server import Server

RULE_LIMIT: Final = 10_000_000
DEFINITION_LIMIT: Final = 100_000_000
"""The same in every release so far: StaticEstimatedCostLimit and StaticEstimatedCRDCostLimit of apiextensions-apiserver."""

RULE_SHARE: Final = 0.75
DEFINITION_SHARE: Final = 0.5
"""How much of it we use at most: a release that reckons a little dearer must not refuse what the former one took."""

_WHOLE: Final = "spec.validation.openAPIV3Schema"
_FACTOR: Final = re.compile(r"exceeds budget by factor of ([0-9.]+)x")


def many_times(kind: Kind, times: int) -> dict[str, Any]:
    """A definition of which an object holds so many specs and statuses of a kind; what each rule costs is multiplied."""
    crd = copy.deepcopy(custom_resource_definition(kind))
    crd["metadata"]["name"], crd["spec"]["group"] = f"{kind.plural}.example.com", "example.com"
    (version,) = crd["spec"]["versions"]
    del version["additionalPrinterColumns"]
    properties = version["schema"]["openAPIV3Schema"]["properties"]
    for part in ("spec", "status"):
        properties[part].pop("default", None)
        properties[part] = {"type": "array", "maxItems": times, "items": properties[part]}
    return crd


def costs(server: Server, kind: Kind) -> Mapping[str, float]:
    """Place of a rule, or of the whole, to its cost.

    The server tells a cost only where it is above its limit, and how far only up to a hundred times. So the definition
    is tried in sizes a hundred apart, at one of which each rule is between the two.
    """
    found: dict[str, float] = {}
    for times in (1, 10**2, 10**4, 10**6):
        reply = server.send("POST", DEFINITIONS, many_times(kind, times), dryRun="All")
        for complaint in reply.complaints:
            factor = _FACTOR.search(complaint.message)
            if factor:
                limit = DEFINITION_LIMIT if complaint.field == _WHOLE else RULE_LIMIT
                found[complaint.field] = float(factor[1]) * limit / times
    return found


def _named(place: str) -> str:
    """`spec.providers[].models[].aliases[]` for the place of a rule in a definition of many specs."""
    path = place.removeprefix(_WHOLE).partition(".x-kubernetes-validations")[0]
    names = re.findall(r"properties\[(\w+)\]((?:\.items)*)", path)
    (part, _), *below = names
    return ".".join([part, *(name + "[]" * items.count(".items") for name, items in below)])


@pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: kind.name)
def test_what_the_rules_cost_leaves_a_margin(
    server: Server, kind: Kind, record_property: Callable[[str, object], None]
) -> None:
    found = dict(costs(server, kind))
    whole = found.pop(_WHOLE) / DEFINITION_LIMIT
    dearest = max(found, key=found.__getitem__)
    record_property(
        "measured",
        f"{kind.name}: the rules cost {whole:.1%} of what a definition may, "
        f"the dearest {found[dearest] / RULE_LIMIT:.1%} of what a rule may: {_named(dearest)}",
    )
    assert whole <= DEFINITION_SHARE
    assert found[dearest] <= RULE_SHARE * RULE_LIMIT


def test_the_fullest_pool_that_a_request_can_bring_is_read_to_its_end(server: Server) -> None:
    """What the rules cost for one object has a limit of its own, above which the server refuses whatever is right."""
    assert server.try_out(KINDS["ProviderPool"], fullest_pool()).complaints == []
