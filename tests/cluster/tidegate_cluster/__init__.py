"""A real Kubernetes API server for tests, without containers and without root.

Builds etcd, kube-apiserver, kube-controller-manager, kubectl and helm from the pinned Go modules beside this
package (once per user, kept in the cache folder), starts them on loopback, and offers the faults that the tests
need: a stopped, a frozen and a compacted server. `python -m tidegate_cluster up` starts the same for a person.

It knows nothing of Tidegate: no policy, no operator, no chart. It never ends a process that it did not start, and
reads the environment in `settings` alone.
"""
