"""The control plane: reads Tidegate's objects and says what each workload's sidecar has to enforce.

It never sees a prompt or a provider key. In dependency order: `api` (what the kinds look like), `index` (objects as
one immutable view), `compile` (pure: the view to configurations and diagnostics).
"""
