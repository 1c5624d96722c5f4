"""The node's network namespace and the one link that joins it to the machine."""

from pathlib import Path

from tidegate_node.commands import attempt, run
from tidegate_node.plan import Plan


def make_network(plan: Plan) -> None:
    """Make the namespace, both ends of the link, and routes to the pods and back.

    Raises:
        CommandFailedError: the system refused; `remove_network` takes away what was made.
    """
    run("ip", "netns", "add", plan.name)
    run(
        *("ip", "link", "add", plan.interface, "type", "veth"),
        *("peer", "name", "eth0", "netns", plan.name),
    )
    run("ip", "addr", "add", f"{plan.machine_address}/{plan.link_bits}", "dev", plan.interface)
    run("ip", "link", "set", plan.interface, "up")
    _inside(plan, "ip", "link", "set", "lo", "up")
    _inside(plan, "ip", "addr", "add", f"{plan.address}/{plan.link_bits}", "dev", "eth0")
    _inside(plan, "ip", "link", "set", "eth0", "up")
    _inside(plan, "ip", "route", "add", "default", "via", plan.machine_address)
    _inside(plan, "sysctl", "-q", "-w", "net.ipv4.ip_forward=1")
    # The API server calls webhooks and kubelets by the addresses that pods and node have.
    run("ip", "route", "add", plan.pods, "via", plan.address)


def remove_network(plan: Plan) -> None:
    """Take it all away; nothing happens where it is not there.

    The link goes first: a namespace lives as long as a process in it, and its end of the link with it.
    """
    attempt("ip", "link", "delete", plan.interface)
    if Path(plan.namespace_file).exists():
        run("ip", "netns", "delete", plan.name)


def entering(plan: Plan, *command: str | Path) -> list[str | Path]:
    """Build a command that runs another one in the node's network and nowhere else.

    `ip netns exec` would give it another /sys as well, without the control groups that the kubelet needs.
    """
    return ["nsenter", f"--net={plan.namespace_file}", "--", *command]


def _inside(plan: Plan, *command: str) -> None:
    run(*entering(plan, *command))
