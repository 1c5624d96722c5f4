"""The injector: gives opted-in pods their sidecar, by an admission webhook.

`review` decides what an AdmissionReview gets; everything it calls is PURE: `decide` (whether a pod gets a sidecar),
`container`, `environment` and `pod` (what it gets), `workloads` (opting in on a Deployment), `patch` (the difference as
JSON patch), `configuration` (the MutatingWebhookConfiguration). `webhook` and `serving` are the thin shell. `coverage` and
`shortfall` (PURE) are for the operator's leader: who has pods without a sidecar, and what to tell of it. The package
must not know policies: what a sidecar enforces it hears from the operator, so a pod's sidecar never depends on when it
was made. It needs no right in the cluster and holds no state.

Start with `review.py`.
"""
