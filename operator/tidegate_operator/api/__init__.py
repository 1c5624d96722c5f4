"""What Tidegate's objects look like: one module per kind, their parsing, and the CRDs made from them.

The pydantic models are the one source: `parse.py` reads documents with them, `crd.py` turns them into the schemas
that the API server enforces and `kubectl explain` shows. A rule that both can check is written once (`Section.rules`)
and has the same words in both places. The package must not know other objects (whether a reference exists is for the
compiler), files, or a cluster client.

Start with `providerpool.py` and `aipolicy.py`; `kinds.py` lists the kinds.
"""
