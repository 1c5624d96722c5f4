"""Configurations on their way in: where they come from and what they become (`build`, `pipeline`, `live`).

They come from a file (`source`) or from the operator (`operator_source`: one poll in `operator_poll`, whom to trust in
`operator_trust`, the copy on disk in `last_known_good`). A configuration is taken whole or not at all; what was in force
stays in force while a new one is wrong. The package must not know Kubernetes, nor what a request looks like.
"""
