"""What the node's programs are told (PURE): files as text, command lines as lists."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tidegate_node.plan import CLUSTER_DOMAIN, DNS_SERVICE_ADDRESS, Plan

PAUSE_IMAGE = "localhost/tidegate/pause:1"
KUBELET_PORT = 10250
DNS_PORT = 53


@dataclass(frozen=True, slots=True)
class Places:
    """Files and folders of a node, all below one folder."""

    folder: Path

    @property
    def containerd_socket(self) -> Path:
        """Where the kubelet and `ctr` reach containerd."""
        return self.folder / "containerd.sock"

    @property
    def containerd_config(self) -> Path:
        """Its configuration."""
        return self.folder / "containerd.toml"

    @property
    def cni(self) -> Path:
        """Folder of the pods' network configuration."""
        return self.folder / "cni"

    @property
    def kubelet_config(self) -> Path:
        """Its configuration."""
        return self.folder / "kubelet.json"

    @property
    def resolver(self) -> Path:
        """What pods with `dnsPolicy: Default` get as resolv.conf."""
        return self.folder / "resolv.conf"

    @property
    def corefile(self) -> Path:
        """CoreDNS' configuration."""
        return self.folder / "Corefile"

    @property
    def bulky(self) -> tuple[Path, ...]:
        """Folders that nobody reads once the node has ended: images, containers, volumes."""
        return tuple(
            self.folder / name
            for name in ("containerd", "containerd-run", "runc", "kubelet", "ipam", "volume-plugins")
        )


def containerd_config(places: Places, *, snapshotter: str, cni_programs: Path) -> str:
    """Containerd with everything below our folder; version 2 of the format is read by 1.6 and by 2.x."""
    cri = 'plugins."io.containerd.grpc.v1.cri"'
    return f"""version = 2
root = "{places.folder / "containerd"}"
state = "{places.folder / "containerd-run"}"

[grpc]
address = "{places.containerd_socket}"

[{cri}]
sandbox_image = "{PAUSE_IMAGE}"
# Where this process may not lower its own score, neither may a container.
restrict_oom_score_adj = true
# Below our folder and not in /run/netns, so that they are found when the node ends.
netns_mounts_under_state_dir = true

[{cri}.containerd]
snapshotter = "{snapshotter}"
default_runtime_name = "runc"

[{cri}.containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"

[{cri}.containerd.runtimes.runc.options]
SystemdCgroup = false
Root = "{places.folder / "runc"}"

[{cri}.cni]
bin_dir = "{cni_programs}"
conf_dir = "{places.cni}"
"""


def network_config(plan: Plan, places: Places) -> str:
    """Pods' network: each has a link of its own to the node, so that all they send passes the node's rules.

    On a bridge, an answer from one pod to another would not, unless the kernel has br_netfilter, and Service
    addresses would fail then.
    """
    content = {
        "cniVersion": "0.4.0",
        "name": plan.name,
        "plugins": [
            {
                "type": "ptp",
                "ipMasq": False,
                "ipam": {
                    "type": "host-local",
                    "dataDir": str(places.folder / "ipam"),
                    "ranges": [[{"subnet": plan.pods}]],
                    "routes": [{"dst": "0.0.0.0/0"}],
                },
            },
            {"type": "portmap", "capabilities": {"portMappings": True}},
        ],
    }
    return json.dumps(content, indent=2)


def kubelet_config(plan: Plan, places: Places, *, authority: Path, serving: Path, serving_key: Path) -> str:
    """The kubelet as in a real cluster, but content with a small and busy machine."""
    content: dict[str, Any] = {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": plan.address,
        "port": KUBELET_PORT,
        "authentication": {"anonymous": {"enabled": False}, "x509": {"clientCAFile": str(authority)}},
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": str(serving),
        "tlsPrivateKeyFile": str(serving_key),
        "containerRuntimeEndpoint": f"unix://{places.containerd_socket}",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{plan.name}",
        "enforceNodeAllocatable": ["pods"],
        "clusterDNS": [DNS_SERVICE_ADDRESS],
        "clusterDomain": CLUSTER_DOMAIN,
        "resolvConf": str(places.resolver),
        "podLogsDir": str(places.folder / "pod-logs"),
        "volumePluginDir": str(places.folder / "volume-plugins"),
        "failCgroupV1": False,
        "failSwapOn": False,
        # Evicting would be about the machine's other tenants, not about the test.
        "evictionHard": {"memory.available": "50Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
        "imageGCHighThresholdPercent": 100,
        # Images are loaded, never fetched, so several starts at once cost nobody anything.
        "serializeImagePulls": False,
        # What a test changes in a ConfigMap or Secret is to be seen soon; a cluster takes a minute.
        "syncFrequency": "10s",
        "shutdownGracePeriod": "0s",
    }
    return json.dumps(content, indent=2)


def kubelet_arguments(plan: Plan, places: Places, kubeconfig: Path) -> list[str]:
    """Its command line: what the file cannot say."""
    return [
        f"--config={places.kubelet_config}",
        f"--kubeconfig={kubeconfig}",
        f"--hostname-override={plan.name}",
        f"--node-ip={plan.address}",
        f"--root-dir={places.folder / 'kubelet'}",
        f"--cert-dir={places.folder / 'kubelet-pki'}",
    ]


def kube_proxy_arguments(plan: Plan, kubeconfig: Path) -> list[str]:
    """Service addresses by iptables, in the node's namespace; the machine's settings are left alone."""
    return [
        f"--kubeconfig={kubeconfig}",
        f"--hostname-override={plan.name}",
        "--proxy-mode=iptables",
        f"--cluster-cidr={plan.pods}",
        f"--bind-address={plan.address}",
        f"--healthz-bind-address={plan.address}:10256",
        f"--metrics-bind-address={plan.address}:10249",
        # Nothing is changed about the machine's connection tracking.
        "--conntrack-max-per-core=0",
        "--conntrack-min=0",
        "--conntrack-tcp-timeout-established=0s",
        "--conntrack-tcp-timeout-close-wait=0s",
    ]


def corefile(plan: Plan, kubeconfig: Path) -> str:
    """Names of Services and pods, and of nothing else: a name outside the cluster does not exist here."""
    return f"""{CLUSTER_DOMAIN}:{DNS_PORT} in-addr.arpa:{DNS_PORT} ip6.arpa:{DNS_PORT} {{
    bind {plan.address}
    errors
    kubernetes {{
        kubeconfig {kubeconfig}
        pods insecure
        ttl 5
    }}
}}
.:{DNS_PORT} {{
    bind {plan.address}
    template ANY ANY {{
        rcode NXDOMAIN
    }}
}}
"""


def dns_objects(plan: Plan) -> list[dict[str, Any]]:
    """The Service that pods ask, pointing to the process on the node, and what that process may read."""
    role = "tidegate-node-dns"
    return [
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "kube-dns", "namespace": "kube-system", "labels": {"k8s-app": "kube-dns"}},
            "spec": {
                "clusterIP": DNS_SERVICE_ADDRESS,
                "ports": [
                    {"name": "dns", "port": DNS_PORT, "protocol": "UDP"},
                    {"name": "dns-tcp", "port": DNS_PORT, "protocol": "TCP"},
                ],
            },
        },
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {
                "name": "kube-dns-node",
                "namespace": "kube-system",
                "labels": {"kubernetes.io/service-name": "kube-dns"},
            },
            "addressType": "IPv4",
            "endpoints": [{"addresses": [plan.address], "conditions": {"ready": True}}],
            "ports": [
                {"name": "dns", "port": DNS_PORT, "protocol": "UDP"},
                {"name": "dns-tcp", "port": DNS_PORT, "protocol": "TCP"},
            ],
        },
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRole",
            "metadata": {"name": role},
            "rules": [
                {
                    "apiGroups": [""],
                    "resources": ["services", "pods", "namespaces"],
                    "verbs": ["list", "watch"],
                },
                {
                    "apiGroups": ["discovery.k8s.io"],
                    "resources": ["endpointslices"],
                    "verbs": ["list", "watch"],
                },
            ],
        },
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": role},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "system:coredns"}],
        },
    ]
