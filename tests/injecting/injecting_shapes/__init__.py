"""Pods and a platform to inject into them, and an RFC 6902 interpreter of our own: what the API server would store."""
