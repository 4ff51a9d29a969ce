"""What every test gets: a home, a git identity and an environment of its own."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

_FOREIGN = ("GITHUB_", "MLFLOW_", "MODELYARD_", "GIT_", "DVC_", "BENTOML_")


@pytest.fixture(autouse=True)
def _isolated(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Neither the developer's configuration nor a CI job's variables reach a test."""
    home: Path = tmp_path_factory.mktemp("home")
    for name in list(os.environ):
        if name.startswith(_FOREIGN) or name in ("CI", "ACT"):
            monkeypatch.delenv(name)
    (home / ".gitconfig").write_text("[user]\n\tname = Test\n\temail = test@example.com\n[init]\n\tdefaultBranch = main\n")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / ".config"))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    monkeypatch.setenv("MODELYARD_BUILDER", "none")  # images take time, and a base: tests/images builds them
