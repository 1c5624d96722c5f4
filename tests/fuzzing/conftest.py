"""The targets are in a package of their own, which a run without pytest imports, too; one of them serves requests as tests/downstream does."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "downstream")]
