"""One stage of the template for all tests."""

from __future__ import annotations

from pathlib import Path

import pytest
from template.bake import REPOSITORY

from modelyard.vendoring import stage


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The template as git would take it now."""
    return stage(REPOSITORY, tmp_path_factory.mktemp("template") / "modelyard")
