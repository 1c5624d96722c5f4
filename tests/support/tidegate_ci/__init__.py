"""What CI does beyond running make: a share of time for each step, and one more chance for tests that use a cluster.

`.ci/run` starts it with the system's Python, before there is an environment: all but `recording`, which is pytest's, is the
standard library alone. It knows make's targets and pytest's node ids, and nothing of Tidegate.
"""
