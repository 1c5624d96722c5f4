"""`python3 -m tidegate_ci`, in this package's folder: all of CI but what has to be installed before."""

import sys
from pathlib import Path

from tidegate_ci.running import Runner
from tidegate_ci.steps import STEPS

if __name__ == "__main__":
    sys.exit(Runner(STEPS, root=Path(__file__).resolve().parents[3]).run())
