"""Sidecars that were asked for and are not there (PURE): counted by workload, and what to tell of it.

It asks the injector's own rules about pods, and knows neither the API server nor who counts; see `handlers/sidecar_coverage.py`.
"""
