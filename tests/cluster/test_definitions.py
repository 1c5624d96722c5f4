import json
import stat
from pathlib import Path

import pytest
from tidegate_cluster.definitions import FILES, provide_definitions
from tidegate_cluster.errors import BuildFailedError
from tidegate_cluster.settings import Settings

_FAKE_GO = '#!/bin/sh\nif [ "$1" = env ]; then echo go1.26.0; exit 0; fi\n'


def machine(folder: Path, script: str) -> Settings:
    """A user's cache, and a Go that answers what its version is and otherwise does `script`."""
    go = folder / "bin" / "go"
    go.parent.mkdir(exist_ok=True)
    go.write_text(_FAKE_GO + script)
    go.chmod(go.stat().st_mode | stat.S_IXUSR)
    environment = {"PATH": f"{go.parent}:/usr/bin:/bin", "HOME": str(folder)}
    return Settings(cache=folder / "cache", assets=None, environment=environment)


def test_definitions_are_downloaded_once(tmp_path: Path) -> None:
    documents = []
    for number, (module, names) in enumerate(FILES.items()):
        root = tmp_path / str(number)
        for name in names:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(module)
        documents.append(json.dumps({"Path": module, "Dir": str(root)}, indent=2))
    answer = tmp_path / "answer"
    answer.write_text("\n".join(documents))
    found = provide_definitions(machine(tmp_path, f"cat {answer}"), print)
    names = sorted(name.rpartition("/")[2] for names in FILES.values() for name in names)
    assert sorted(path.name for path in found.iterdir()) == names
    assert provide_definitions(machine(tmp_path, "exit 1"), print) == found


def test_a_failed_download_says_what_go_said_and_leaves_nothing(tmp_path: Path) -> None:
    settings = machine(tmp_path, 'echo "checksum mismatch" >&2; exit 1')
    with pytest.raises(BuildFailedError, match="checksum mismatch"):
        provide_definitions(settings, print)
    assert list(settings.cache.glob("definitions-*")) == []


def test_a_module_without_a_file_is_told_by_its_name(tmp_path: Path) -> None:
    module = next(iter(FILES))
    answer = tmp_path / "answer"
    answer.write_text(json.dumps({"Path": module, "Dir": str(tmp_path)}))
    with pytest.raises(BuildFailedError, match=f"{module} has no file"):
        provide_definitions(machine(tmp_path, f"cat {answer}"), print)
