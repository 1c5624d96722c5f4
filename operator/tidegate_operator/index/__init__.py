"""Objects of any source as one immutable view.

`Snapshot` is all that a compile needs and all that it gets: whoever gathers objects (a watch, a folder of files, a
test) parses each document with `tidegate_operator.api` and puts the result here. The package does no I/O and knows
no cluster client.
"""
