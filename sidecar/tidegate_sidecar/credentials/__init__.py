"""Provider keys: held in memory, found per try, never shown.

The package must not know what a request says or which provider is chosen.
"""
