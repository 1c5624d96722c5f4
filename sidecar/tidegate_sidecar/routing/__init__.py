"""Where a call may go, and the words for when it may go nowhere: pure tables and values.

The package must not know HTTP, sockets, or whether a provider is well at the moment.
"""
