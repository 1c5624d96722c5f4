"""Measuring an OCI archive: what its image adds to its base, unpacked and as it is transferred."""

import gzip
import json
import shutil
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

from tidegate_images.errors import ImageError

_GZIP_MAGIC = b"\x1f\x8b"


class _Counter:
    """A file that only counts."""

    def __init__(self) -> None:
        self.count_bytes = 0

    def write(self, content: bytes) -> int:
        self.count_bytes += len(content)
        return len(content)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """Of one image, in bytes."""

    own_unpacked: int
    own_packed: int
    total_unpacked: int
    total_packed: int


def measure(archive: Path, *, base_layers: int) -> Sizes:
    """Measure an image whose first `base_layers` layers are its base's.

    Raises:
        ImageError: it is no OCI archive with one image.
    """
    with tarfile.open(archive) as files:
        index = _json(files, "index.json")
        if len(index["manifests"]) != 1:
            raise ImageError(f"{archive} holds {len(index['manifests'])} images, one was expected")
        manifest = _json(files, _path(index["manifests"][0]))
        packed = [layer["size"] for layer in manifest["layers"]]
        unpacked = [_unpacked_size(files, _path(layer)) for layer in manifest["layers"]]
    return Sizes(
        own_unpacked=sum(unpacked[base_layers:]),
        own_packed=sum(packed[base_layers:]),
        total_unpacked=sum(unpacked),
        total_packed=sum(packed),
    )


def _unpacked_size(files: tarfile.TarFile, path: str) -> int:
    counter = _Counter()
    with _open(files, path) as layer:
        is_packed = layer.read(len(_GZIP_MAGIC)) == _GZIP_MAGIC
        layer.seek(0)
        with gzip.open(layer) if is_packed else layer as content:
            shutil.copyfileobj(cast("BinaryIO", content), counter)
    return counter.count_bytes


def _json(files: tarfile.TarFile, path: str) -> Any:
    with _open(files, path) as file:
        return json.load(file)


def _open(files: tarfile.TarFile, path: str) -> BinaryIO:
    file = files.extractfile(path)
    if file is None:
        raise ImageError(f"{path} in the archive is no file")
    return cast("BinaryIO", file)


def _path(descriptor: dict[str, Any]) -> str:
    return f"blobs/{descriptor['digest'].replace(':', '/')}"
