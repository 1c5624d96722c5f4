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
STANDARD_LIBRARY = {
    "json/decoder.py": "",
    "json/tests/test_decoder.py": "",
    "test/support.py": "",
    "site-packages/other.py": "",
}
PROGRAM = (
    "import sys, pathlib, slim; slim.main(pathlib.Path(sys.argv[1]), sys.argv[3:], pathlib.Path(sys.argv[2]))"
)


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, standard = tmp_path_factory.mktemp("environment"), tmp_path_factory.mktemp("standard")
    for root, files in ((folder, FILES), (standard, STANDARD_LIBRARY)):
        for name, content in files.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
    command = [sys.executable, "-c", PROGRAM, folder, standard, "unused", "half/gone"]
    subprocess.run(command, cwd=ROOT / "images", check=True, timeout=60)
    return folder


def test_only_what_the_image_runs_is_left(environment: Path) -> None:
    left = {
        str(path.relative_to(environment))
        for path in environment.rglob("*")
        if path.is_file() and not path.is_relative_to(environment / "bytecode")
    }
    assert left == {
        "bin/used",
        "lib/python3.11/site-packages/used/main.py",
        "lib/python3.11/site-packages/used/deep/tests/needed.py",
        "lib/python3.11/site-packages/half/kept.py",
    }


def test_bytecode_is_there_and_is_not_looked_at_twice(environment: Path) -> None:
    """A file system that is read-only takes none later; without time stamps in it, two builds are equal."""
    (compiled,) = (environment / "bytecode").rglob("site-packages/used/main.*.pyc")
    flags = int.from_bytes(compiled.read_bytes()[4:8], "little")
    assert flags == 0b01  # by the source's hash, and not checked when imported


def test_of_the_standard_library_what_programs_import_is_compiled(environment: Path) -> None:
    """Images of Python come without its bytecode: each start would compile what it imports."""
    compiled = {path.name.partition(".")[0] for path in (environment / "bytecode").rglob("*.pyc")}
    assert compiled == {"main", "needed", "kept", "decoder"}
