"""Buildah, with a store of its own: no daemon, no privileges beyond root's, nothing of the machine's other images."""

from collections.abc import Mapping
from pathlib import Path

from tidegate_images.commands import need, run
from tidegate_images.errors import ImageError


class Buildah:
    """Builds images into a store below `cache`."""

    def __init__(self, cache: Path) -> None:
        need("buildah", "buildah")
        self._cache = cache
        cache.mkdir(parents=True, exist_ok=True)

    def has(self, name: str) -> bool:
        """Tell whether the store has an image."""
        try:
            self._buildah("inspect", "--type=image", "--format={{.FromImageID}}", name)
        except ImageError:
            return False
        return True

    def build(self, dockerfile: Path, context: Path, name: str, arguments: Mapping[str, str]) -> None:
        """Build a Dockerfile.

        Raises:
            ImageError: a step failed; the text has the end of what it printed.
        """
        given = [f"--build-arg={key}={value}" for key, value in arguments.items()]
        self._buildah(
            *("bud", "--isolation=chroot", "--format=oci", f"--tag={name}", f"--file={dockerfile}"),
            *(*given, str(context)),
        )

    def save(self, name: str, archive: Path, reference: str) -> None:
        """Write an image to an OCI archive in which it is called `reference`."""
        archive.unlink(missing_ok=True)
        self._buildah("push", "--quiet", name, f"oci-archive:{archive}:{reference}")

    def layers(self, name: str) -> int:
        """Count an image's layers."""
        template = "{{len .OCIv1.RootFS.DiffIDs}}"
        return int(self._buildah("inspect", "--type=image", f"--format={template}", name))

    def prune(self) -> None:
        """Remove what no name refers to any more: the stages of earlier builds."""
        self._buildah("rmi", "--prune", "--force")

    def _buildah(self, *arguments: str) -> str:
        store = [
            "--storage-driver=vfs",
            f"--root={self._cache / 'storage'}",
            f"--runroot={self._cache / 'run'}",
        ]
        return run(["buildah", *store, *arguments], folder=self._cache)
