"""The environment variables that this package heeds, read once and passed on as a value."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Where programs are found and kept."""

    cache: Path
    """Folder for built programs, a downloaded Go and records of what runs:
    `$XDG_CACHE_HOME/tidegate/cluster`, or the same under `~/.cache`."""

    assets: Path | None
    """`KUBEBUILDER_ASSETS`: a folder with etcd, kube-apiserver and kubectl to use instead of building them.
    None when unset or empty."""

    environment: Mapping[str, str] = field(repr=False)
    """The whole environment, for `go` and `pip`; the servers get none of it. It may hold secrets, so no repr."""


def settings_from_environment() -> Settings:
    """Read the settings from this process' environment."""
    environment = dict(os.environ)  # noqa: TID251 - this is the package's settings module
    cache_home = Path(environment.get("XDG_CACHE_HOME") or "")
    if not cache_home.is_absolute():  # the XDG specification: a relative path is to be ignored
        cache_home = Path.home() / ".cache"
    assets = environment.get("KUBEBUILDER_ASSETS")
    return Settings(
        cache=cache_home / "tidegate" / "cluster",
        assets=Path(assets).expanduser().resolve() if assets else None,
        environment=environment,
    )
