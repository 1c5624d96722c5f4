"""What happened, for people and machines: one record per call and metrics with closed label sets.

Nothing here decides anything. No prompt, key or token is ever given to this package.
"""
