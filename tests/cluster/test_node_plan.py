"""What nodes are called and told: two never meet, and nothing of a node is outside its folder."""

import json
import socket
import threading
from ipaddress import IPv4Network
from itertools import combinations
from pathlib import Path

import pytest
from tidegate_node.configs import (
    Places,
    containerd_config,
    corefile,
    dns_objects,
    kubelet_config,
    network_config,
)
from tidegate_node.dns import _addresses, resolve
from tidegate_node.plan import MAX_NODES, Plan

PLANS = [Plan(number) for number in range(MAX_NODES)]
RESERVED_FOR_TESTS = IPv4Network("198.18.0.0/15")
INTERFACE_NAME_MAX = 15


def networks(plan: Plan) -> list[IPv4Network]:
    return [IPv4Network(plan.pods), IPv4Network(f"{plan.address}/{plan.link_bits}", strict=False)]


def test_nodes_side_by_side_share_no_name_and_no_address() -> None:
    for one, other in combinations(PLANS, 2):
        assert not {one.name, one.interface} & {other.name, other.interface}
        assert not any(mine.overlaps(its) for mine in networks(one) for its in networks(other))


@pytest.mark.parametrize("plan", PLANS, ids=lambda it: it.name)
def test_addresses_are_such_that_nobody_has_to_reach(plan: Plan) -> None:
    assert all(network.subnet_of(RESERVED_FOR_TESTS) for network in networks(plan))
    assert plan.address != plan.machine_address
    assert len(plan.interface) <= INTERFACE_NAME_MAX


def test_everything_that_is_written_is_below_the_nodes_folder() -> None:
    plan, places = Plan(0), Places(Path("/somewhere/node"))
    pki = places.folder / "pki"
    kubelet = json.loads(kubelet_config(plan, places, authority=pki, serving=pki, serving_key=pki))
    pods = json.loads(network_config(plan, places))["plugins"][0]
    containerd = containerd_config(places, snapshotter="native", cni_programs=Path("/usr/lib/cni"))
    written = [kubelet["podLogsDir"], kubelet["volumePluginDir"], pods["ipam"]["dataDir"]]
    written += [
        line.split('"')[1] for line in containerd.splitlines() if line.startswith(("root", "state", "Root"))
    ]
    assert all(Path(path).is_relative_to(places.folder) for path in written)
    assert kubelet["cgroupRoot"] == f"/{plan.name}"


def test_pods_ask_the_service_address_that_leads_to_the_process_on_the_node() -> None:
    plan, places = Plan(3), Places(Path("/somewhere/node"))
    kubelet = json.loads(kubelet_config(plan, places, authority=Path(), serving=Path(), serving_key=Path()))
    service, endpoints = dns_objects(plan)[:2]
    assert kubelet["clusterDNS"] == [service["spec"]["clusterIP"]]
    assert endpoints["endpoints"][0]["addresses"] == [plan.address]
    assert f"bind {plan.address}" in corefile(plan, Path("/somewhere/kubeconfig"))


@pytest.mark.parametrize(
    ("records", "expected"),
    [
        (b"", []),
        (b"\xc0\x0c\0\x01\0\x01\0\0\0\x05\0\x04\x0a\x60\0\x01", ["10.96.0.1"]),
        (b"\x03www\0\0\x01\0\x01\0\0\0\x05\0\x04\x01\x02\x03\x04", ["1.2.3.4"]),
    ],
    ids=["no record", "compressed name", "spelled-out name"],
)
def test_addresses_are_read_from_an_answer(records: bytes, expected: list[str]) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))

        def answer() -> None:
            question, asker = server.recvfrom(512)
            count = bytes([0, 1 if records else 0])
            server.sendto(
                question[:2] + b"\x81\x80\0\x01" + count + b"\0\0\0\0" + question[12:] + records, asker
            )

        thread = threading.Thread(target=answer)
        thread.start()
        assert resolve("a.test", server="127.0.0.1", port=server.getsockname()[1], timeout_s=5) == expected
        thread.join(timeout=5)


def test_an_answer_that_is_cut_short_is_an_error() -> None:
    with pytest.raises(ValueError, match="cut short"):
        _addresses(b"\xc0\x0c\0\x01", start=0, count=1)
