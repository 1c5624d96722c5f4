"""Dialects: one pure module each says how a provider is asked, how it answers, and how it reports usage.

Bytes and parsed JSON in, values out. The package must not know sockets, limits, or which provider is chosen.
"""
