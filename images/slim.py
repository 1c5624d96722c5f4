"""Takes out of an environment what no process ever reads, and compiles the rest: run by the images' build stages.

    python3 images/slim.py ENVIRONMENT [PACKAGE...]

Removes the named packages (what this image does not run) with their commands, tests of dependencies, type stubs and the C
sources that some wheels bring along. Bytecode is compiled here, since the file system may be read-only later, and
without time stamps in it, so that two builds are equal. Standard library alone.
"""

import compileall
import py_compile
import shutil
import sys
from pathlib import Path

_TESTS = ("test", "tests", "testing")
_SOURCES = ("*.c", "*.h", "*.pxd", "*.pyi", "*.pyx", "*.pxi")


def main(environment: Path, packages: list[str]) -> None:
    """Slim the environment in place."""
    (library,) = environment.glob("lib/python3.*/site-packages")
    for package in packages:
        shutil.rmtree(library / package)
        for command in (environment / "bin").iterdir():
            if command.is_file() and f"from {package}." in command.read_text(errors="ignore"):
                command.unlink()
    for distribution in library.iterdir():
        # Only directly below a package: deeper down the word may be part of what it does.
        for name in _TESTS[:2]:
            shutil.rmtree(distribution / name, ignore_errors=True)
    for pattern in _SOURCES:
        for file in library.rglob(pattern):
            file.unlink()
    for folder in library.rglob("__pycache__"):
        shutil.rmtree(folder)
    done = compileall.compile_dir(
        library, quiet=1, workers=0, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH
    )
    if not done:
        sys.exit(f"{library}: some modules could not be compiled")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
