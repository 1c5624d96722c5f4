"""The demonstration: a script of calls through a running sidecar, and its records as lines for people.

`script` says which calls are made (data), `guide` makes them over the sidecar's real socket, `journal` prints what
the sidecar recorded. Nothing here decides or invents: a line stands for a record, or it is a heading.
"""
