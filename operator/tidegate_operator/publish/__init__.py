"""What was compiled, on its way to the sidecars: served to those who may have it, and answered for.

`board` holds the newest edition and wakes polls, `answer` decides what one poll gets (PURE), `acks` knows which pod runs
what (PURE), `tokens` and `keys` prove who asks, `server` is the thin shell around them, `forward` brings acks to the
leader. The package must not know a cluster client: what it needs of one are the Protocols in `identity`.
"""
