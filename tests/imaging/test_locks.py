"""What images install is fixed: version and hash of everything, and nothing that pyproject.toml would refuse."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from tidegate_images.catalogue import BUILD_LOCK, IMAGES, ROOT, Image

LOCKS = [*(image.lock for image in IMAGES), BUILD_LOCK]
PIN = re.compile(r"([A-Za-z0-9._-]+)(?:\[[^]]*\])?==(\S+)")


def pins(lock: Path) -> dict[str, str]:
    found = (PIN.match(line) for line in lock.read_text(encoding="utf-8").splitlines())
    return {canonicalize_name(it[1]): it[2] for it in found if it}


def requirements_of(extra: str) -> list[Requirement]:
    """What the extra asks for, those of the extras it is made of included."""
    project: Any = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    found = []
    for text in project["optional-dependencies"][extra]:
        requirement = Requirement(text)
        if requirement.name == project["name"]:
            found += [it for name in sorted(requirement.extras) for it in requirements_of(name)]
        else:
            found.append(requirement)
    return found


@pytest.mark.parametrize("lock", LOCKS, ids=lambda it: it.parent.name)
def test_everything_has_a_hash_and_nothing_an_address(lock: Path) -> None:
    text = lock.read_text(encoding="utf-8")
    entries = re.split(r"\n(?=[A-Za-z0-9])", text.partition("\n")[2])
    pinned = [entry for entry in entries if PIN.match(entry)]
    assert pinned
    assert all("--hash=sha256:" in entry for entry in pinned)
    assert "://" not in text
    assert "--index-url" not in text


@pytest.mark.parametrize("image", IMAGES, ids=lambda it: it.name)
def test_a_lock_has_what_its_extra_asks_for(image: Image) -> None:
    """Where this fails, pyproject.toml has moved on: `make image-locks`."""
    pinned = pins(image.lock)
    for requirement in requirements_of(image.extra):
        if requirement.marker is None or requirement.marker.evaluate():
            version = pinned.get(canonicalize_name(requirement.name))
            assert version is not None, f"{requirement} is not in {image.lock}: make image-locks"
            assert requirement.specifier.contains(version), f"{requirement}: {version} is locked"


@pytest.mark.parametrize("image", IMAGES, ids=lambda it: it.name)
def test_an_image_runs_as_nobody_without_a_shell(image: Image) -> None:
    steps = (image.folder / "Dockerfile").read_text(encoding="utf-8").splitlines()
    assert [step for step in steps if step.startswith("USER")] == ["USER 65532:65532"]
    assert steps[-1].startswith('ENTRYPOINT ["')
