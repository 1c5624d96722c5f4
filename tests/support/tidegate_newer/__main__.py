"""`python -m tidegate_newer`: the operator of a later release."""

import sys

from tidegate_newer import become_newer

become_newer()

from tidegate_operator.__main__ import main  # noqa: E402 - it is made from the table of kinds

if __name__ == "__main__":
    sys.exit(main())
