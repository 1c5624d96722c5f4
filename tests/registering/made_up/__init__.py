"""A policy, filters and a dialect that nobody built in: all that the sidecar is told of them is a `Registry`."""
