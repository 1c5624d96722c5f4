"""The servers' command lines, as functions of what they depend on."""

from pathlib import Path

from tidegate_cluster.certificates import SERVICE_CLUSTER_IP_RANGE, CertificateFiles
from tidegate_cluster.loopback import ADDRESS

SERVICE_ACCOUNT_ISSUER = "https://kubernetes.default.svc.cluster.local"
"""Issuer of ServiceAccount tokens, and the audience of those that ask for none."""


def etcd_arguments(*, name: str, port: int, data: Path) -> list[str]:
    """Etcd alone, without TLS, for the API server on the same machine."""
    return [
        f"--name={name}",
        f"--data-dir={data}",
        f"--listen-client-urls=http://{ADDRESS}:{port}",
        f"--advertise-client-urls=http://{ADDRESS}:{port}",
        f"--listen-peer-urls=http://{ADDRESS}:0",  # it has no peers, but insists on listening for them
        "--unsafe-no-fsync",  # the data need not outlive the machine, and fsync is most of a write's time
        "--log-level=warn",
    ]


def apiserver_arguments(
    *, address: str, port: int, etcd_port: int, files: CertificateFiles, folder: Path
) -> list[str]:
    """Build a kube-apiserver's arguments: as in a real cluster where that is visible from outside."""
    return [
        f"--etcd-servers=http://{ADDRESS}:{etcd_port}",
        f"--bind-address={address}",
        f"--advertise-address={address}",
        f"--secure-port={port}",
        f"--cert-dir={folder}",
        f"--tls-cert-file={files.serving}",
        f"--tls-private-key-file={files.serving_key}",
        f"--client-ca-file={files.authority}",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        f"--service-account-issuer={SERVICE_ACCOUNT_ISSUER}",
        f"--service-account-key-file={files.service_account_public_key}",
        f"--service-account-signing-key-file={files.service_account_key}",
        f"--api-audiences={SERVICE_ACCOUNT_ISSUER}",
        f"--service-cluster-ip-range={SERVICE_CLUSTER_IP_RANGE}",
        "--allow-privileged=true",
        # The `kubernetes` Service would get a loopback address as its endpoint, which the API itself refuses.
        "--endpoint-reconciler-type=none",
        # Webhooks named by Service reach the addresses in its EndpointSlices: there is no kube-proxy.
        "--enable-aggregator-routing=true",
        # Without this, a stop waits up to a minute for the clients that watch; with it, two seconds.
        "--shutdown-send-retry-after=true",
        "--profiling=false",
    ]


_PLUGINS_THAT_ASK = (
    "NamespaceLifecycle",
    "MutatingAdmissionWebhook",
    "ValidatingAdmissionWebhook",
    "ValidatingAdmissionPolicy",
)
"""Admission plugins that read namespaces, webhooks and policies, of which a server of definitions has none."""


def definitions_server_arguments(
    *, port: int, etcd_port: int, kubeconfig: Path, files: CertificateFiles, folder: Path
) -> list[str]:
    """Build the arguments of an apiextensions-apiserver that asks no other API server: the kubeconfig is its own."""
    return [
        f"--etcd-servers=http://{ADDRESS}:{etcd_port}",
        f"--bind-address={ADDRESS}",
        f"--secure-port={port}",
        f"--cert-dir={folder}",
        f"--tls-cert-file={files.serving}",
        f"--tls-private-key-file={files.serving_key}",
        f"--client-ca-file={files.authority}",
        f"--kubeconfig={kubeconfig}",
        f"--authentication-kubeconfig={kubeconfig}",
        f"--authorization-kubeconfig={kubeconfig}",
        "--authentication-skip-lookup=true",
        "--enable-priority-and-fairness=false",
        f"--disable-admission-plugins={','.join(_PLUGINS_THAT_ASK)}",
        "--profiling=false",
    ]


def controller_manager_arguments(
    *, port: int, kubeconfig: Path, files: CertificateFiles, folder: Path
) -> list[str]:
    """Build a kube-controller-manager's arguments: all its controllers, alone, so without leader election."""
    return [
        f"--kubeconfig={kubeconfig}",
        f"--bind-address={ADDRESS}",
        f"--secure-port={port}",
        f"--cert-dir={folder}",
        f"--tls-cert-file={files.serving}",
        f"--tls-private-key-file={files.serving_key}",
        f"--root-ca-file={files.authority}",
        f"--cluster-signing-cert-file={files.authority}",
        f"--cluster-signing-key-file={files.authority_key}",
        f"--service-account-private-key-file={files.service_account_key}",
        "--use-service-account-credentials=true",
        "--leader-elect=false",
        # Its start makes some hundred calls; at the usual 20 a second that takes long.
        "--kube-api-qps=500",
        "--kube-api-burst=1000",
        # After an API server that was away, its view of the kubelet's heartbeats is behind for up to a minute. With one
        # node it then takes all pods out of their Services, which in a cluster of any size would not happen.
        "--node-monitor-grace-period=1h",
        "--profiling=false",
    ]


def scheduler_arguments(*, port: int, kubeconfig: Path, files: CertificateFiles, folder: Path) -> list[str]:
    """Build a kube-scheduler's arguments: alone, so without leader election."""
    return [
        f"--kubeconfig={kubeconfig}",
        f"--authentication-kubeconfig={kubeconfig}",
        f"--authorization-kubeconfig={kubeconfig}",
        f"--client-ca-file={files.authority}",
        f"--bind-address={ADDRESS}",
        f"--secure-port={port}",
        f"--cert-dir={folder}",
        f"--tls-cert-file={files.serving}",
        f"--tls-private-key-file={files.serving_key}",
        "--leader-elect=false",
        "--profiling=false",
    ]
