"""The data plane: stands between an application and its AI providers, and enforces the compiled configuration.

It knows nothing of Kubernetes objects and never decides what the rules are. `proxy` is the shell, everything that
awaits; `policies` and `providers` are pure decisions and dialects; `config` brings configurations in and turns them
into a running pipeline; `credentials` holds keys in memory; `telemetry` says what happened.

Start with `proxy/exchange.py`: one request's life, on one screen.
"""
