"""Snapshot to configurations and diagnostics: pure and deterministic.

Any order of the same objects gives the same bytes. Nothing is refused silently: whatever does not take effect as
written has a `Diagnostic` that names the object, the field, what is wrong and what would be right. The package must
not know where objects come from, what a condition looks like, or how a configuration reaches a sidecar.

Start with `compiler.py`: the passes, in order, on one screen. `compile_snapshot` compiles once; whoever compiles again
and again keeps a `Compiler`, for which an edit costs what it changes.
"""
