"""What is taken out of an image's environment, and what stays."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from tidegate_images.catalogue import ROOT

FILES = {
    "bin/used": "#!/opt/bin/python3\nfrom used.main import main\nmain()\n",
    "bin/unused": "#!/opt/bin/python3\nfrom unused.main import main\nmain()\n",
    "lib/python3.11/site-packages/used/main.py": "def main():\n    return 'ran'\n",
    "lib/python3.11/site-packages/used/tests/test_main.py": "",
    "lib/python3.11/site-packages/used/deep/tests/needed.py": "",
    "lib/python3.11/site-packages/used/speedup.c": "int x;",
    "lib/python3.11/site-packages/used/main.pyi": "",
    "lib/python3.11/site-packages/unused/main.py": "",
    "lib/python3.11/site-packages/half/kept.py": "",
    "lib/python3.11/site-packages/half/gone/module.py": "",
}


@pytest.fixture
def environment(tmp_path: Path) -> Path:
    for name, content in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    command = [sys.executable, ROOT / "images" / "slim.py", tmp_path, "unused", "half/gone"]
    subprocess.run(command, check=True, timeout=60)
    return tmp_path


def test_only_what_the_image_runs_is_left(environment: Path) -> None:
    left = {
        str(path.relative_to(environment))
        for path in environment.rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    assert left == {
        "bin/used",
        "lib/python3.11/site-packages/used/main.py",
        "lib/python3.11/site-packages/used/deep/tests/needed.py",
        "lib/python3.11/site-packages/half/kept.py",
    }


def test_bytecode_is_there_and_is_not_looked_at_twice(environment: Path) -> None:
    """A file system that is read-only takes none later; without time stamps in it, two builds are equal."""
    (compiled,) = (environment / "lib/python3.11/site-packages/used/__pycache__").glob("main.*.pyc")
    flags = int.from_bytes(compiled.read_bytes()[4:8], "little")
    assert flags == 0b01  # by the source's hash, and not checked when imported
