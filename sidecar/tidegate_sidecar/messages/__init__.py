"""Bodies: what is in them, how a member is changed without touching another byte, and how their encodings are undone.

Everything here is pure: bytes in, values out. What takes longer than the event loop may be held is a generator that does
a bounded piece of work between two yields; whoever calls steps it, and lets the loop turn in between. The package must not
know of sockets, dialects' members, limits or policies.
"""
