"""The contract between the planes: what the control plane compiles and the data plane enforces.

The package holds plain values, the units they are written in, and their one encoding on the wire. It does no I/O,
reads no clock and needs nothing but the standard library, so both planes (and a test without a cluster) can hold
it. It must not know Kubernetes objects, HTTP, or how a rule is enforced.

Start with `model.py`; `wire.py` is the encoding, `units.py` the spelling that people write.
"""
