"""What is there before the first program of a node starts: certificates and files."""

from collections.abc import Mapping
from pathlib import Path

from tidegate_cluster.certificates import write_private
from tidegate_cluster.controlplane import ControlPlane
from tidegate_cluster.ledger import Ledger

from tidegate_node.configs import Places, containerd_config, kubelet_config, network_config
from tidegate_node.packages import cni_programs, has_overlay
from tidegate_node.plan import Plan


def make_control_plane(
    plan: Plan, *, programs: Mapping[str, Path], folder: Path, ledger: Ledger
) -> ControlPlane:
    """Prepare a control plane that has a node: it listens where pods can reach it, and calls the kubelet."""
    pki = folder / "pki"
    control_plane = ControlPlane(
        programs=programs,
        folder=folder,
        address=plan.machine_address,
        ledger=ledger,
        apiserver_extra=[
            "--endpoint-reconciler-type=lease",
            "--kubelet-preferred-address-types=InternalIP",
            f"--kubelet-certificate-authority={pki / 'ca.crt'}",
            f"--kubelet-client-certificate={pki / 'kubelet-client.crt'}",
            f"--kubelet-client-key={pki / 'kubelet-client.key'}",
        ],
    )
    client = control_plane.authority.client("kube-apiserver-kubelet-client", ["system:masters"])
    write_private(pki / "kubelet-client.crt", client.certificate_pem)
    write_private(pki / "kubelet-client.key", client.key_pem)
    serving = control_plane.authority.server(names=[plan.name], addresses=[plan.address])
    write_private(pki / "kubelet.crt", serving.certificate_pem)
    write_private(pki / "kubelet.key", serving.key_pem)
    return control_plane


def write_files(plan: Plan, places: Places, control_plane: ControlPlane) -> None:
    """Write what containerd, the pods' network and the kubelet are told."""
    pki = places.folder / "pki"
    places.cni.mkdir(exist_ok=True)
    (places.cni / "10-node.conflist").write_text(network_config(plan, places))
    snapshotter = "overlayfs" if has_overlay() else "native"
    places.containerd_config.write_text(
        containerd_config(places, snapshotter=snapshotter, cni_programs=cni_programs())
    )
    places.kubelet_config.write_text(
        kubelet_config(
            plan,
            places,
            authority=control_plane.files.authority,
            serving=pki / "kubelet.crt",
            serving_key=pki / "kubelet.key",
        )
    )
    places.resolver.write_text("# Pods that do not ask the cluster's name server have none.\n")
