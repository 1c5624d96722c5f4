"""Finished archives, kept by what they were made from: in a second checkout, and after a change of tests alone."""

import shutil
from collections.abc import Sequence
from pathlib import Path

from tidegate_images.catalogue import Image

_KEPT = 3
"""Of each image, for going back and forth between branches."""


class ArchiveStore:
    """Archives below `folder`, for one state of the sources."""

    def __init__(self, folder: Path, context: str) -> None:
        self._folder = folder
        self._context = context

    def split(self, images: Sequence[Image]) -> tuple[list[Image], list[Image]]:
        """Tell those that are kept from those that have to be built."""
        kept = [it for it in images if self._path(it).exists()]
        return kept, [it for it in images if it not in kept]

    def keep(self, image: Image, archive: Path) -> None:
        """Keep a finished one, and of its predecessors the latest."""
        _copy(archive, self._path(image))
        own = sorted(self._folder.glob(f"{image.repository}-*.tar"), key=lambda it: it.stat().st_mtime_ns)
        for old in own[:-_KEPT]:
            old.unlink()

    def give(self, image: Image, archive: Path) -> None:
        """Have a kept one in `archive`."""
        _copy(self._path(image), archive)
        self._path(image).touch()  # it is in use: others go before it

    def _path(self, image: Image) -> Path:
        return self._folder / f"{image.repository}-{self._context[:32]}.tar"


def _copy(source: Path, target: Path) -> None:
    """Copy it whole or not at all."""
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_suffix(".partial")
    shutil.copyfile(source, partial)
    partial.replace(target)
