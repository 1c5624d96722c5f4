"""Provider keys: held in memory, found for each attempt, never shown.

The package must not know what a request says or which provider is chosen.
"""
