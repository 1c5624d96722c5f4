"""What the tests share: a sidecar that runs in the test's own event loop, configurations in a line, a clock to turn.

Everything here is the real thing on real sockets; only time is played, where a test says so.
"""
