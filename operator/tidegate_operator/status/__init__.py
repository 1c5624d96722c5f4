"""What the status of each object should say, from what a compile found, what sidecars answered and which pods live (PURE).

`builders.py` has one builder for each kind; `aspects.py` the conditions that several kinds share; `merge.py` brings a status
into the form that the object has. Nothing here asks the API server or the clock: `cluster/writer.py` writes.
"""
