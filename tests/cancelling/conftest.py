"""Helpers are beside the tests, in `cancelling_site`."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from tidegate_testing.fixtures import no_authorities

sys.path.insert(0, str(Path(__file__).parent))

from cancelling_site.stage import Authority

__all__ = ["no_authorities"]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))
