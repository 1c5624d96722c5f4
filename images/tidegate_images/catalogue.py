"""Which images there are."""

from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
"""The checkout, which is what images are built from."""
BUILD_LOCK = ROOT / "images" / "build.lock"
"""What builds the project's own wheel inside an image."""
PYTHON_VERSION = "3.11"
"""Of all images; wheels and lock files are for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """One image."""

    name: str
    """Its folder below images/."""
    extra: str
    """The distribution's extra that its process needs."""
    max_own_bytes: int
    """What it may add to its base, unpacked."""

    @property
    def repository(self) -> str:
        """What it is called, without registry and tag."""
        return f"tidegate-{self.name}"

    @property
    def archive(self) -> str:
        """What its file is called."""
        return f"{self.repository}.tar"

    @property
    def folder(self) -> Path:
        """Where its Dockerfile is."""
        return ROOT / "images" / self.name

    @property
    def lock(self) -> Path:
        """All it needs, each with its hashes."""
        return self.folder / "requirements.lock"

    @property
    def inputs(self) -> tuple[Path, ...]:
        """Requirements beside the extra."""
        further = self.folder / "requirements.in"
        return (further,) if further.exists() else ()


IMAGES = (
    # In every pod: its size is paid for on every node and on every new one's first pod.
    Image(name="sidecar", extra="sidecar", max_own_bytes=60_000_000),
    Image(name="operator", extra="operator", max_own_bytes=150_000_000),
    Image(name="demo", extra="cli", max_own_bytes=150_000_000),
)
