"""The run is a program of its own, beside the tests; it uses the made-up rules of tests/registering."""

from __future__ import annotations

import sys
from pathlib import Path

from tidegate_testing.fixtures import no_authorities

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "registering")]

__all__ = ["no_authorities"]
