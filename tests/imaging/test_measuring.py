"""What an image adds to its base is measured in its archive."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import pytest
from tidegate_images.archive import measure
from tidegate_images.errors import ImageError
from tidegate_node.pause import pause_archive


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    path = tmp_path / "image.tar"
    path.write_bytes(pause_archive(b"x" * 100_000, name="localhost/image:1", architecture="amd64"))
    return path


def test_the_layers_beyond_the_base_are_the_images_own(archive: Path) -> None:
    sizes = measure(archive, base_layers=0)
    assert 100_000 <= sizes.own_unpacked == sizes.total_unpacked < 120_000
    assert measure(archive, base_layers=1).own_unpacked == 0


def test_an_archive_of_several_images_is_refused(archive: Path, tmp_path: Path) -> None:
    path = tmp_path / "two.tar"
    with tarfile.open(archive) as one, tarfile.open(path, "w") as two:
        file = one.extractfile("index.json")
        assert file is not None
        index = json.load(file)
        content = json.dumps({**index, "manifests": index["manifests"] * 2}).encode()
        entry = tarfile.TarInfo("index.json")
        entry.size = len(content)
        two.addfile(entry, io.BytesIO(content))
    with pytest.raises(ImageError, match="holds 2 images, one was expected"):
        measure(path, base_layers=0)
