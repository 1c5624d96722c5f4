"""A base image where no registry can be reached: Debian 12, whose Python is 3.11, from its own packages."""

import shutil
from collections.abc import Callable
from pathlib import Path

from tidegate_images.buildah import Buildah
from tidegate_images.catalogue import ROOT
from tidegate_images.commands import need, run
from tidegate_images.errors import ImageError

RELEASE = "bookworm"
NAME = f"localhost/tidegate-base:{RELEASE}"
_PACKAGES = ("ca-certificates", "python3", "python3-venv", "tzdata")
# Nobody reads them in a container, and they are a third of the whole.
_UNREAD = (
    "usr/share/doc",
    "usr/share/man",
    "usr/share/locale",
    "usr/share/info",
    "var/cache",
    "var/lib/apt/lists",
)


def provide_base(buildah: Buildah, cache: Path, report: Callable[[str], None]) -> str:
    """Return the base's name, making it where it is not in the store yet: once per user, about a minute.

    Raises:
        ImageError: debootstrap is missing, failed, or is run without root.
    """
    if buildah.has(NAME):
        return NAME
    need("debootstrap", "debootstrap")
    tree, context = cache / "base-tree", cache / "base-context"
    _discard(tree, context)
    context.mkdir(parents=True)
    report(f"Making the base image from Debian {RELEASE} (once, about a minute)")
    try:
        include = f"--include={','.join(_PACKAGES)}"
        run(["debootstrap", "--variant=minbase", include, RELEASE, tree, *_mirror()], folder=cache)
        for path in _UNREAD:
            shutil.rmtree(tree / path, ignore_errors=True)
        for program in tree.rglob("__pycache__"):
            shutil.rmtree(program)
        packed = context / "rootfs.tar"
        run(
            [
                "tar",
                "--create",
                "--sort=name",
                "--one-file-system",
                "--file",
                packed,
                "--directory",
                tree,
                ".",
            ],
            folder=cache,
        )
        buildah.build(ROOT / "images" / "base" / "Dockerfile", context, NAME, {})
    finally:
        _discard(tree, context)
    return NAME


def _discard(*folders: Path) -> None:
    """Remove folders; what debootstrap mounted in them goes first, or the machine's own /sys would be emptied."""
    lines = Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()
    for mounted in reversed([Path(line.split()[4]) for line in lines]):
        if any(mounted.is_relative_to(folder) for folder in folders):
            run(["umount", mounted], folder=ROOT)
    for folder in folders:
        if folder.exists():
            shutil.rmtree(folder)


def _mirror() -> list[str]:
    """The mirror that this machine's apt is set to, if it is Debian's."""
    try:
        listed = run(
            ["apt-get", "indextargets", "--format", "$(CODENAME) $(REPO_URI)", "Created-By: Packages"],
            folder=ROOT,
        )
    except ImageError:
        return []  # no apt here: debootstrap knows Debian's usual mirror
    found = [line.split()[1] for line in listed.splitlines() if line.startswith(f"{RELEASE} ")]
    return found[:1]
