"""From a checkout to measured archives."""

import fcntl
import time
import tomllib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tidegate_images.archive import Sizes, measure
from tidegate_images.base import provide_base
from tidegate_images.buildah import Buildah
from tidegate_images.catalogue import ROOT, Image
from tidegate_images.commands import run
from tidegate_images.context import context_digest
from tidegate_images.errors import ImageError
from tidegate_images.store import ArchiveStore
from tidegate_images.wheels import fetch_wheels

# How container runtimes spell a name that has no registry in it: what `image: tidegate-sidecar:...` means to a node.
_NO_REGISTRY = "docker.io/library"
_MEGABYTE = 1_000_000
_OTHERS_LIMIT_S = 1_800


def build_images(
    images: Sequence[Image], output: Path, cache: Path, report: Callable[[str], None]
) -> list[Path]:
    """Have images in `output`, one OCI archive each, and return their paths.

    Only what has changed is built: an image from the same files on the same base is taken from the cache.

    Raises:
        ImageError: a build failed, or an image has grown beyond its limit; its archive is there then.
    """
    cache.mkdir(parents=True, exist_ok=True)
    with _alone(cache, report):
        return _build_images(images, output, cache, report)


@contextmanager
def _alone(cache: Path, report: Callable[[str], None]) -> Iterator[None]:
    """One build at a time: they share wheels and the store, and each clears away what no image needs any more."""
    # Closing the file, or the end of the process, frees the lock.
    with (cache / "build.lock").open("w") as lock:
        deadline = time.monotonic() + _OTHERS_LIMIT_S
        has_told = False
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if time.monotonic() >= deadline:
                    raise ImageError(f"Another build holds {lock.name} for too long") from error
                if not has_told:
                    report("Another build is running; waiting for it")
                    has_told = True
                time.sleep(1)
        yield


def _build_images(
    images: Sequence[Image], output: Path, cache: Path, report: Callable[[str], None]
) -> list[Path]:
    output.mkdir(parents=True, exist_ok=True)
    store = ArchiveStore(cache / "archives", context_digest(ROOT))
    kept, missing = store.split(images)
    for image in kept:
        report(f"{image.archive}: nothing that it is made from has changed")
    problems = []
    if missing:
        builder = _Builder(cache, report)
        for image in missing:
            sizes = builder.build(image, output / image.archive)
            if sizes.own_unpacked > image.max_own_bytes:
                problems.append(
                    f"{image.name}: {sizes.own_unpacked / _MEGABYTE:.1f} MB beyond its base, "
                    f"{image.max_own_bytes / _MEGABYTE:.0f} are allowed (images/tidegate_images/catalogue.py)"
                )
            else:
                store.keep(image, output / image.archive)
        builder.close()
    for image in kept:
        store.give(image, output / image.archive)
    if problems:
        raise ImageError("\n".join(problems))
    return [output / image.archive for image in images]


class _Builder:
    """Builds one image after the other on one base."""

    def __init__(self, cache: Path, report: Callable[[str], None]) -> None:
        started = time.monotonic()
        self._report = report
        self._buildah = Buildah(cache)
        base = provide_base(self._buildah, cache, report)
        fetch_wheels(report)
        report(f"Base and wheels are there after {time.monotonic() - started:.0f} s")
        self._base_layers = self._buildah.layers(base)
        self._arguments = {
            "BASE_IMAGE": base,
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": "/source/build/wheels",
            "VERSION": version(),
            "REVISION": _revision(),
        }

    def build(self, image: Image, archive: Path) -> Sizes:
        """Have it in `archive`, which is the old one or the new one, whole, at any moment."""
        started = time.monotonic()
        name = f"localhost/{image.repository}:{version()}"
        self._buildah.build(image.folder / "Dockerfile", ROOT, name, self._arguments)
        partial = archive.with_suffix(".partial")
        self._buildah.save(name, partial, f"{_NO_REGISTRY}/{image.repository}:{version()}")
        sizes = measure(partial, base_layers=self._base_layers)
        partial.replace(archive)
        self._report(f"{_told(archive, sizes)}; {time.monotonic() - started:.0f} s")
        return sizes

    def close(self) -> None:
        """Remove what the builds have left behind."""
        self._buildah.prune()


def version() -> str:
    """The project's version, which is the images' tag."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return str(project["project"]["version"])


def _told(archive: Path, sizes: Sizes) -> str:
    own = f"{sizes.own_unpacked / _MEGABYTE:.1f} MB ({sizes.own_packed / _MEGABYTE:.1f} packed)"
    total = f"{sizes.total_unpacked / _MEGABYTE:.1f} MB ({sizes.total_packed / _MEGABYTE:.1f} packed)"
    return f"{archive.name}: own layers {own}, with base {total}"


def _revision() -> str:
    try:
        return run(["git", "rev-parse", "HEAD"], folder=ROOT).strip()
    except ImageError:
        return "unknown"  # a source archive has no history
