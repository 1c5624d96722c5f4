"""The command line: joins the planes for people, without a cluster.

`manifests` reads files into the same `Snapshot` that the operator takes from a cluster, the operator's compiler turns
it into configurations, and `source` hands them to the sidecar's own server. `commands` holds one module per
subcommand, `simulator` a provider that costs nothing. The package decides nothing by itself: what is allowed is for
the compiler and the sidecar, so that a folder of files and a cluster behave alike. It must not know Kubernetes'
API server.
"""
