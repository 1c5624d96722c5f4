"""Each target holds for its seeds, and for whatever hypothesis makes of its words; `make prove` looks for more."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tidegate_fuzzing.__main__ import MAX_BYTES
from tidegate_fuzzing.targets import TARGETS, Target, seeds_of

PLACES = ("tests/support", "tests/downstream", "tests/fuzzing")
ROOT = Path(__file__).parents[2]
MOST_SEED_BYTES = 64 * 1024


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_it_holds_for_its_seeds(target: Target) -> None:
    seeds = seeds_of(target)
    assert seeds
    for seed in seeds:
        target.check(seed.read_bytes())


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_it_holds_for_its_words_in_any_order(target: Target) -> None:
    @settings(max_examples=30)
    @given(
        st.binary(max_size=4), st.lists(st.sampled_from(target.words) | st.binary(max_size=6), max_size=12)
    )
    def check(sizes: bytes, words: list[bytes]) -> None:
        target.check(bytes([len(sizes)]) + sizes + b"".join(words))

    check()


def test_seeds_are_few_and_small() -> None:
    sizes = [seed.stat().st_size for target in TARGETS.values() for seed in seeds_of(target)]
    assert max(sizes) <= MAX_BYTES + 8
    assert sum(sizes) <= MOST_SEED_BYTES


def test_a_run_ends_well_and_within_its_time() -> None:
    """Two seconds of one target, as `make prove` runs all of them."""
    run = fuzz("--seconds=2", "--target=events")
    assert run.returncode == 0, run.stdout + run.stderr
    assert run.stdout.startswith("events: Done ")


def test_an_input_is_replayed_without_atheris(tmp_path: Path) -> None:
    found = tmp_path / "found"
    found.write_bytes(b"\0\0data: x\n\n")
    assert fuzz("--target=events", f"--replay={found}").returncode == 0


def fuzz(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tidegate_fuzzing", *arguments],
        cwd=ROOT,
        env={"PYTHONPATH": ":".join([*PLACES, *sys.path]), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
