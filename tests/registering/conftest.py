"""What is made up here stands beside the tests, in `made_up`: nothing of it is known to the sidecar."""

from __future__ import annotations

import sys
from pathlib import Path

from tidegate_testing.fixtures import no_authorities

sys.path.insert(0, str(Path(__file__).parent))

__all__ = ["no_authorities"]
