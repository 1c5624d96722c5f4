"""Configurations on their way in: where they come from (`source`) and what they become (`build`, `pipeline`).

A configuration is taken whole or not at all; what was in force stays in force while a new one is wrong. The package
must not know Kubernetes, nor what a request looks like.
"""
