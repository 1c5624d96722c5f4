"""What the operator tells about itself: metrics, and a small HTTP server for them and for health.

The package knows nothing of the rest: it is told numbers and asks functions that it is given.
"""
