"""Takes out of an environment what no process ever reads, and compiles the rest: run by the images' build stages.

    python3 images/slim.py ENVIRONMENT [PACKAGE...]

Removes the named packages (what this image does not run) with their commands, tests of dependencies, type stubs and the C
sources that some wheels bring along. Bytecode goes to ENVIRONMENT/bytecode, where PYTHONPYCACHEPREFIX is to point: the file
system may be read-only later, and Python's images come without that of the standard library, which would be compiled at
each start. There are no time stamps in it, so that two builds are equal. Standard library alone.
"""

import compileall
import py_compile
import re
import shutil
import sys
import sysconfig
from pathlib import Path

_TESTS = ("test", "tests")
_UNUSED = re.compile(
    r"/(test|tests|idlelib|tkinter|turtledemo|lib2to3|ensurepip|distutils|pydoc_data|(site|dist)-packages)/"
)
_SOURCES = ("*.c", "*.h", "*.pxd", "*.pyi", "*.pyx", "*.pxi")


def main(environment: Path, packages: list[str], standard_library: Path) -> None:
    """Slim the environment in place; of the standard library, only bytecode is made."""
    (library,) = environment.glob("lib/python3.*/site-packages")
    for package in packages:
        shutil.rmtree(library / package)
        for command in (environment / "bin").iterdir():
            if command.is_file() and f"from {package}." in command.read_text(errors="ignore"):
                command.unlink()
    for distribution in library.iterdir():
        # Only directly below a package: deeper down the word may be part of what it does.
        for name in _TESTS:
            shutil.rmtree(distribution / name, ignore_errors=True)
    for pattern in _SOURCES:
        for file in library.rglob(pattern):
            file.unlink()
    for folder in library.rglob("__pycache__"):
        shutil.rmtree(folder)
    sys.pycache_prefix = str(environment / "bytecode")
    # What this process itself imports would be kept as well, with its time stamp.
    sys.dont_write_bytecode = True
    _compile(library, None)
    _compile(standard_library, _UNUSED)


def _compile(folder: Path, unused: re.Pattern[str] | None) -> None:
    mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
    if not compileall.compile_dir(folder, quiet=1, workers=0, rx=unused, invalidation_mode=mode):
        sys.exit(f"{folder}: some modules could not be compiled")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:], Path(sysconfig.get_path("stdlib")))
