"""The shell: everything that awaits, around decisions that do not.

`exchange.py` is one request's whole life; read it first. `identify`, `route` and `respond` are pure; `dispatch` makes
the tries, `upstream` is the leg to the provider, `downstream` the one to the application, `relay` joins the two.
"""
