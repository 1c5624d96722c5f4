"""`tidegate-injector` as a process, installed in a real API server, and webhooks of others beside it."""
