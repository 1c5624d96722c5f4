"""An image is built when something that it is made from has changed, and taken from the cache when not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tidegate_images.catalogue import IMAGES, ROOT
from tidegate_images.context import context_digest
from tidegate_images.store import ArchiveStore


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    root = tmp_path / "checkout"
    (root / "sidecar").mkdir(parents=True)
    (root / "tests").mkdir()
    (root / "build" / "wheels").mkdir(parents=True)
    (root / "sidecar" / "app.py").write_text("one")
    (root / "README.md").write_text("words")
    (root / ".dockerignore").write_text(
        "*\n!README.md\n!sidecar\n!build\nbuild/*\n!build/wheels\n**/__pycache__\n"
    )
    return root


def test_what_a_build_is_given_decides(checkout: Path) -> None:
    first = context_digest(checkout)
    (checkout / "sidecar" / "app.py").write_text("two")
    second = context_digest(checkout)
    (checkout / "sidecar" / "more.py").write_text("")
    third = context_digest(checkout)
    (checkout / "sidecar" / "more.py").rename(checkout / "sidecar" / "other.py")
    fourth = context_digest(checkout)
    (checkout / "sidecar" / "other.py").chmod(0o755)
    fifth = context_digest(checkout)
    assert len({first, second, third, fourth, fifth}) == 5


def test_what_a_build_never_sees_is_no_reason_for_one(checkout: Path) -> None:
    before = context_digest(checkout)
    (checkout / "tests" / "test_it.py").write_text("")
    (checkout / "build" / "wheels" / "it.whl").write_text("")
    (checkout / "sidecar" / "__pycache__").mkdir()
    (checkout / "sidecar" / "__pycache__" / "app.pyc").write_text("")
    os.utime(checkout / "README.md")
    assert context_digest(checkout) == before


def test_everything_that_images_are_built_from_counts() -> None:
    """The project's own list: each package, the locks and the files of the images themselves."""
    listed = (ROOT / ".dockerignore").read_text().split()
    packages = {path.parent.parent.name for path in ROOT.glob("*/tidegate_*/__init__.py")}
    assert {f"!{name}" for name in packages | {"pyproject.toml", "README.md", "LICENSE"}} <= set(listed)


def test_a_kept_archive_is_given_again(tmp_path: Path) -> None:
    image, other = IMAGES[:2]
    store = ArchiveStore(tmp_path / "cache", "a" * 64)
    assert store.split([image, other]) == ([], [image, other])
    (tmp_path / "built").write_text("layers")
    store.keep(image, tmp_path / "built")
    assert store.split([image, other]) == ([image], [other])
    store.give(image, tmp_path / "again")
    assert (tmp_path / "again").read_text() == "layers"
    assert ArchiveStore(tmp_path / "cache", "b" * 64).split([image]) == ([], [image])


def test_of_each_image_only_the_last_ones_are_kept(tmp_path: Path) -> None:
    (tmp_path / "built").write_text("layers")
    for number in range(6):
        for image in IMAGES:
            ArchiveStore(tmp_path / "cache", f"{number:<064}").keep(image, tmp_path / "built")
    assert len(list((tmp_path / "cache").iterdir())) == 3 * len(IMAGES)
    assert ArchiveStore(tmp_path / "cache", f"{5:<064}").split(IMAGES)[0] == list(IMAGES)
