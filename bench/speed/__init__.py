"""What a call costs: Tidegate beside Envoy and a bare aiohttp proxy, under the same load and against the same provider.

`python -m speed` (`make bench`) measures and prints; start reading in `__main__.py`. `traffic`, `results`, `bars` and `report` are
pure. `targets` names what takes part, `contenders` says how each proxy is started, `programs` starts and ends processes, `check`
proves that a proxy does its work before `load` measures it. It imports nothing of the sidecar: that is a program like the others.
"""
