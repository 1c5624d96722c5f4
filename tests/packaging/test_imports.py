"""What a plane may bring along: the sidecar's extra is all that its image has."""

from __future__ import annotations

import ast
import json
import operator
import re
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

PROGRAM = """
import importlib, importlib.abc, json, pkgutil, sys

before = set(sys.modules)


class Forbids(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in set(sys.argv[2:]):
            raise ImportError(f"{name} is not to be imported here")
        return None


sys.meta_path.insert(0, Forbids())
package = importlib.import_module(sys.argv[1])
for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
    importlib.import_module(module.name)
print(json.dumps(sorted({name.partition(".")[0] for name in set(sys.modules) - before})))
"""

CONTROL_PLANE = ("kopf", "kubernetes", "hvac", "pydantic", "ruamel", "click", "rich", "cryptography")
OURS = ("tidegate_operator", "tidegate_cli")


def modules_of(package: str, *forbidden: str) -> set[str]:
    """All that is imported with every module of `package`, the names at the top."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, package, *forbidden],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout))


def distributions_of(extra: str) -> set[str]:
    """Distributions that `tidegate[extra]` installs, with all that they need themselves."""
    needed: set[str] = set()
    waiting = [
        _name(it)
        for it in metadata.requires("tidegate") or ()
        if f'extra == "{extra}"' in it.replace("'", '"')
    ]
    while waiting:
        name = waiting.pop()
        if name in needed:
            continue
        needed.add(name)
        try:
            requires = metadata.requires(name) or ()
        except metadata.PackageNotFoundError:
            continue  # of another platform or another version of Python
        waiting += [_name(it) for it in requires if "extra ==" not in it]
    return needed


def _name(requirement: str) -> str:
    match = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert match is not None
    return re.sub(r"[-_.]+", "-", match[0]).lower()


def test_the_sidecar_needs_nothing_but_its_extra() -> None:
    imported = modules_of("tidegate_sidecar", *CONTROL_PLANE, *OURS)
    allowed = distributions_of("sidecar")
    assert {"aiohttp", "orjson"} <= allowed
    where = metadata.packages_distributions()
    foreign = {
        name: where[name]
        for name in imported - sys.stdlib_module_names
        if name in where and not {_name(it) for it in where[name]} & (allowed | {"tidegate"})
    }
    assert foreign == {}


@pytest.mark.parametrize(
    ("package", "extra"),
    [
        ("sidecar/tidegate_sidecar", "sidecar"),
        ("operator/tidegate_operator", "operator"),
        ("cli/tidegate_cli", "cli"),
    ],
)
def test_what_is_imported_is_declared(package: str, extra: str) -> None:
    """What only a dependency of ours depends on may be gone, or another version, with its next release."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    declared, waiting = set(), [*extras[extra]]
    while waiting:
        requirement = waiting.pop()
        if ours := re.match(r"tidegate\[(.*)\]", requirement):
            waiting += [it for name in ours[1].split(",") for it in extras[name]]
        else:
            declared.add(_name(requirement))
    where = metadata.packages_distributions()
    undeclared = {
        name
        for path in (ROOT / package).rglob("*.py")
        for name in _imported(ast.parse(path.read_text()))
        if name in where and not {_name(it) for it in where[name]} & (declared | {"tidegate"})
    }
    assert undeclared == set()


def _imported(module: ast.Module) -> set[str]:
    """The names at the top of all that it imports, wherever it does."""
    names: set[str] = set()
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            names.update(it.name.partition(".")[0] for it in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            names.add(node.module.partition(".")[0])
    return names


def test_the_contract_needs_nothing_but_the_standard_library() -> None:
    imported = modules_of("tidegate_policy", *CONTROL_PLANE, *OURS, "aiohttp", "orjson", "tidegate_sidecar")
    where = metadata.packages_distributions()
    assert {name for name in imported - sys.stdlib_module_names if name in where} <= {"tidegate_policy"}


@pytest.mark.parametrize("package", ["tidegate_policy", "tidegate_runtime", "tidegate_sidecar"])
def test_importing_starts_nothing(package: str) -> None:
    """No thread, no loop, no signal handler and no output: whoever imports a module decides when it begins."""
    program = (
        "import importlib, pkgutil, signal, sys, threading\n"
        f"package = importlib.import_module({package!r})\n"
        "for module in pkgutil.walk_packages(package.__path__, package.__name__ + '.'):\n"
        "    importlib.import_module(module.name)\n"
        "assert threading.active_count() == 1\n"
        "assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_no_package_shadows_the_standard_librarys_operator() -> None:
    assert not (ROOT / "operator" / "__init__.py").exists()
    assert operator.__file__ is not None
    assert not Path(operator.__file__).is_relative_to(ROOT)


def test_folders_of_tests_are_no_packages() -> None:
    found = {path.parent.relative_to(ROOT) for path in (ROOT / "tests").glob("*/__init__.py")}
    assert found == set()
    assert not (ROOT / "tests" / "__init__.py").exists()


@pytest.mark.parametrize(
    "package", ["policy/tidegate_policy", "runtime/tidegate_runtime", "sidecar/tidegate_sidecar"]
)
def test_each_package_says_what_it_is_for(package: str) -> None:
    for path in (ROOT / package).rglob("*.py"):
        docstring = ast.get_docstring(ast.parse(path.read_text()))
        assert docstring, path
    assert (ROOT / package / "py.typed").exists()
