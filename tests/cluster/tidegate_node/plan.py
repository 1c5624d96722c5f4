"""Names and addresses of one node (PURE): everything that is made on the machine can be told from its number."""

from dataclasses import dataclass
from ipaddress import IPv4Network

MAX_NODES = 16
"""Nodes that can run side by side on one machine."""

DNS_SERVICE_ADDRESS = "10.96.0.10"
"""Cluster address of the Service `kube-dns`, which pods have as their name server."""
CLUSTER_DOMAIN = "cluster.local"

# Set aside for tests between networks (RFC 2544): no real network that somebody has to reach uses them.
_LINKS = IPv4Network("198.18.0.0/16")
_PODS = IPv4Network("198.19.0.0/16")


@dataclass(frozen=True, slots=True)
class Plan:
    """What belongs to node `number`, from 0 to `MAX_NODES` - 1."""

    number: int

    @property
    def name(self) -> str:
        """Of the Kubernetes node, its network namespace and its control groups."""
        return f"tidegate-node-{self.number}"

    @property
    def interface(self) -> str:
        """The machine's end of the link; the other end is `eth0` in the namespace."""
        return f"tgnode{self.number}"

    @property
    def namespace_file(self) -> str:
        """What `nsenter --net=` is given."""
        return f"/run/netns/{self.name}"

    @property
    def machine_address(self) -> str:
        """The machine's end, where the API server listens."""
        return str(_LINKS[self.number * 4 + 1])

    @property
    def address(self) -> str:
        """The node's end, its InternalIP."""
        return str(_LINKS[self.number * 4 + 2])

    @property
    def link_bits(self) -> int:
        """Prefix length of both ends."""
        return 30

    @property
    def pods(self) -> str:
        """Network of the pods."""
        return f"{_PODS[self.number * 256]}/24"
