"""The project around the toolkit, and its own objects."""

from __future__ import annotations

from pathlib import Path

import pytest
from unit import mini_project

from modelyard import project as projects
from modelyard.errors import ProjectError, UsageError


def test_a_project_is_found_from_below(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Any folder inside of it will do; outside there is none."""
    made = mini_project.make(tmp_path / "project", periods=())
    monkeypatch.chdir(made.source)

    assert projects.find() == made
    assert projects.find(made.root / "data/raw") == made
    with pytest.raises(UsageError, match="not in a Modelyard project"):
        projects.find(tmp_path)


def test_its_own_objects_are_found(tmp_path: Path) -> None:
    """Convention gives module and name; the source folder need not be installed."""
    made = mini_project.make(tmp_path, periods=())

    assert callable(projects.load_object(made, "data", "load"))
    assert made.report("x.json") == tmp_path / "reports/x.json"
    assert made.report("x.json").parent.is_dir()


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (None, r"data cannot be imported: No module named"),
        ("import nosuchpackage", r"data cannot be imported: No module named 'nosuchpackage'"),
        ("other = 1", r"data has no 'load'"),
        ("import os\nos.nosuchname", r"data fails on import: AttributeError: .*nosuchname"),
        ("1 / 0", r"data fails on import: ZeroDivisionError"),
        ("def load(:", r"data fails on import: SyntaxError"),
    ],
)
def test_an_object_that_cannot_be_had_is_named(tmp_path: Path, code: str | None, message: str) -> None:
    """A module that is missing, fails or lacks the object: the message tells which, with the file to mend."""
    made = mini_project.make(tmp_path, periods=())
    for module in ("data.py", "model.py"):
        (made.source / made.policy.package / module).unlink()
    if code is not None:
        (made.source / made.policy.package / "data.py").write_text(code)

    with pytest.raises(ProjectError, match=message) as caught:
        projects.load_object(made, "data", "load")

    assert f"src/{made.policy.package}/data.py" in caught.value.fix
