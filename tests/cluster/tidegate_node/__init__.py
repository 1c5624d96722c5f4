"""A Kubernetes node with real pods, without Docker: for tests, and for a person to try things on.

The control plane is that of `tidegate_cluster`, in the machine's own network. The node (containerd, kubelet,
kube-proxy, CoreDNS) has a network namespace of its own, joined by one pair of interfaces, so that it can meet
neither the machine's addresses nor its firewall. All its processes, pods included, are in control groups of its name:
whatever is left after a crash is found by that name and by nothing else.

It needs root and Debian's containerd; `packages` says which packages. It knows nothing of Tidegate.
"""
