"""The same images on kind, for people who have Docker."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from tidegate_images.building import version
from tidegate_images.catalogue import IMAGES, ROOT
from tidegate_images.commands import run
from tidegate_images.errors import ImageError

_CONFIG = ROOT / "images" / "kind.yaml"
_CLUSTER = "tidegate"


def kind_up(kubeconfig: Path, report: Callable[[str], None]) -> None:
    """Build the images with Docker, make a cluster unless it is there, and load them.

    Raises:
        ImageError: docker or kind is missing or failed.
    """
    for program in ("docker", "kind"):
        if shutil.which(program) is None:
            raise ImageError(
                f"{program} is not installed. `make node-up` needs neither Docker nor kind, but root."
            )
    names = []
    for image in IMAGES:
        name = f"{image.repository}:{version()}"
        report(f"Building {name}")
        dockerfile = str(image.folder / "Dockerfile")
        run(
            ["docker", "build", "--file", dockerfile, "--tag", name, f"--build-arg=VERSION={version()}", "."],
            folder=ROOT,
        )
        names.append(name)
    kubeconfig.parent.mkdir(parents=True, exist_ok=True)
    if _CLUSTER in run(["kind", "get", "clusters"], folder=ROOT).split():
        run(["kind", "export", "kubeconfig", "--name", _CLUSTER, "--kubeconfig", kubeconfig], folder=ROOT)
    else:
        report(f"Making the cluster {_CLUSTER}")
        run(
            ["kind", "create", "cluster", "--config", _CONFIG, "--kubeconfig", kubeconfig, "--wait", "120s"],
            folder=ROOT,
        )
    report("Loading the images")
    run(["kind", "load", "docker-image", "--name", _CLUSTER, *names], folder=ROOT)
    report(f"export KUBECONFIG={os.fspath(kubeconfig)}")
