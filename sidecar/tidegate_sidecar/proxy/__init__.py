"""The life of a call: decisions that do not await, and the shell around them that carries them out.

`exchange.py` is a call's whole life on one screen; read it first. `decisions`, `identify`, `respond` and `refusals` are pure;
`candidates` knows who can be asked, `attempts` asks, `attempt` and the `*_body` modules read what one provider says, and
`delivery` alone writes to the application. The package names no dialect, no kind of rule and no kind of filter.
"""
