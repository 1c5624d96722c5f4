"""Decisions about calls and their attempts, and nothing else: limits, breakers, cooldowns, retries, whom to ask.

Everything here is pure and synchronous: time comes in as `now_ns` (monotonic nanoseconds), chance as a number in
[0, 1), and a decision goes out as a value. It must not know of sockets, clocks, logs, metrics or HTTP; whoever calls
it carries the decision out. There are no locks: one event loop calls, and no decision awaits. Amounts are integers.
A policy holds its state in memory whose size has a stated bound, and a reload carries that state over.
"""
