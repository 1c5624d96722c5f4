"""What README and docs show is true: the manifests are valid, the commands and the files exist."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from tidegate_cli.__main__ import main
from tidegate_operator.inject import names
from tidegate_operator.inject.decide import DenyReason, SkipReason
from tidegate_operator.inject.environment import OURS, SERVED
from tidegate_operator.inject.settings import Settings as InjectorSettings
from tidegate_operator.settings import variables
from tidegate_operator.telemetry.metrics import Metrics
from tidegate_sidecar.policies.failures import FailureKind
from tidegate_sidecar.telemetry.metrics import Metrics as SidecarMetrics
from tidegate_sidecar.telemetry.records import CallRecord, Ending

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
INJECTION = ROOT / "docs/operations/injection.md"
STANDALONE = ROOT / "docs/operations/standalone.md"


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)


def test_the_manifests_in_readme_are_valid(tmp_path: Path) -> None:
    (manifests,) = blocks(ROOT / "README.md", "yaml")
    (tmp_path / "readme.yaml").write_text(manifests)
    result = CliRunner().invoke(main, ["validate", "-f", str(tmp_path)])
    assert result.exit_code == 0, result.output
    assert "3 objects, 0 errors, 0 warnings" in result.output


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files_that_exist(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


@pytest.mark.parametrize("command", re.findall(r"`tidegate (\w+)", (ROOT / "README.md").read_text()))
def test_commands_that_readme_names_exist(command: str) -> None:
    assert command in main.commands


@pytest.mark.parametrize("folder", sorted(it.name for it in (ROOT / "examples").iterdir() if it.is_dir()))
def test_the_examples_are_valid(folder: str) -> None:
    result = CliRunner().invoke(main, ["validate", "-f", str(ROOT / "examples" / folder)])
    assert result.exit_code == 0, result.output


def test_every_setting_of_the_sidecar_is_documented() -> None:
    settings = (ROOT / "sidecar/tidegate_sidecar/settings.py").read_text()
    documented = "\n".join(page.read_text() for page in PAGES)
    for variable in set(re.findall(r"\"(TIDEGATE_[A-Z_]+)\"", settings)):
        assert variable in documented, variable


def test_the_metrics_of_the_sidecar_are_those_that_are_documented() -> None:
    exposed = {metric.name for metric in SidecarMetrics().registry.collect()}
    rows = re.findall(r"^\| `((?:ai|tidegate)_\w+)` \|", STANDALONE.read_text(), re.MULTILINE)
    documented = {name.removesuffix("_total") for name in rows}
    assert documented == {name for name in exposed if not name.startswith("process_")}


def test_the_fields_of_a_record_are_those_that_are_documented() -> None:
    table = STANDALONE.read_text().partition("\n## Records\n")[2].partition("\n| `ending` | |")[0]
    documented = [
        name
        for cell in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE)
        for name in re.findall(r"`(\w+)`", cell)
    ]
    fields = {it.name for it in dataclasses.fields(CallRecord)} - {"started_wall_ns", "model_label", "cells"}
    assert set(documented) == fields | {"time"}
    assert len(documented) == len(set(documented))


def test_every_way_in_which_an_attempt_or_a_call_ends_is_documented() -> None:
    text = STANDALONE.read_text()
    for word in (*FailureKind, *Ending):
        assert f"`{word.value}`" in text, word


def test_every_setting_of_the_operator_is_documented() -> None:
    documented = (ROOT / "docs/operations/operator.md").read_text()
    for variable in variables():
        assert f"`{variable}`" in documented, variable


def test_every_setting_of_the_injector_is_documented() -> None:
    documented = INJECTION.read_text()
    source = (ROOT / "operator/tidegate_operator/inject/settings.py").read_text()
    of_sidecars = set(re.findall(r"\"(SIDECAR_[A-Z_]+|OPERATOR_URL)\"", source))
    of_itself = {it.name.upper() for it in dataclasses.fields(InjectorSettings)} - {"TEMPLATE"}
    for name in of_sidecars | of_itself:
        assert f"`TIDEGATE_{name}`" in documented, name


def test_every_metric_of_the_injector_is_documented() -> None:
    documented = INJECTION.read_text()
    source = (ROOT / "operator/tidegate_operator/inject/metrics.py").read_text()
    for name in re.findall(r"\"(tidegate_[a-z_]+)\"", source):
        assert f"`{name}`" in documented, name


def test_every_word_that_pods_are_told_by_is_documented() -> None:
    documented = INJECTION.read_text()
    variables = [name for sdk in SERVED for name in (sdk.url, sdk.key)]
    told = (names.INJECT, names.COPIED, names.STATUS, *names.OVERRIDES, *SkipReason, *DenyReason, *variables)
    for word in told:
        assert f"`{word}`" in documented or f"`{word}:" in documented, word
    for sdk in SERVED:
        assert OURS[sdk.url] in documented, sdk.url


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_values_of_the_chart_that_pages_name_exist(page: Path) -> None:
    """`sidecar.unmatched` in a page is a value; so is what `--set` is given."""
    values = yaml.safe_load((ROOT / "charts/tidegate/values.yaml").read_text())
    text = page.read_text()
    groups = "|".join(key for key, value in values.items() if isinstance(value, dict) and value)
    named = re.findall(rf"`((?:{groups})\.[A-Za-z.]+)[`:]", text) + re.findall(r"--set ([A-Za-z.]+)=", text)
    for path in named:
        found = values
        for part in path.split("."):
            assert part in found, f"{page.name} names the value {path}"
            found = found[part]


def test_the_metrics_of_the_operator_are_those_that_are_documented() -> None:
    page = (ROOT / "docs/operations/operator.md").read_text()
    exposed = set(
        re.findall(
            r"^# HELP (tidegate_operator_\w+?)(?<!_created) ", Metrics().expose().decode(), re.MULTILINE
        )
    )
    assert set(re.findall(r"^\| `(tidegate_operator_\w+)`", page, re.MULTILINE)) == exposed
