"""The API server: asked, written to, and who may write.

`client.py` is the only importer of the kubernetes package, whose calls block and therefore run in threads, each with a
deadline. Everything above it speaks of Tidegate's own values. What is written is decided by pure functions
(`conditions.py`, `status.py`, `events.py`, `lease.py`), carried out by the replica that holds the Lease,
and conditional on a resourceVersion or idempotent: two replicas that both think they may write do no harm.
`rights.py` is the table of what the processes may do. The package must not know kopf, or how configurations reach
sidecars.
"""
