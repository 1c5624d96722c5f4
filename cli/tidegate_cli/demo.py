"""A compiled configuration with every provider replaced by the simulated one (PURE).

What is replaced is the address and the key, after the compile: rules, models, order and timeouts are those of the
files, so that what a demonstration shows is what the files say.
"""

from __future__ import annotations

from dataclasses import replace

from tidegate_policy.model import CompiledConfig, Pool, Provider


def redirect(config: CompiledConfig, simulator_url: str) -> CompiledConfig:
    """`config` with all calls going to the simulator at `simulator_url` (no slash at its end), without any key."""
    return replace(config, pools=tuple(_pool(pool, simulator_url) for pool in config.pools))


def _pool(pool: Pool, simulator_url: str) -> Pool:
    return replace(pool, providers=tuple(_provider(provider, simulator_url) for provider in pool.providers))


def _provider(provider: Provider, simulator_url: str) -> Provider:
    # All types so far have the version segment in their base URL, and the simulator serves both dialects below /v1.
    base_url = f"{simulator_url}/providers/{provider.name}/v1"
    return replace(provider, base_url=base_url, credentials=(), caller_credential=False, public_only=False)
