"""``demo``: the story of the README, played whole by the project's own workflows; two months are enough for the broken one."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from modelyard import git, history

pytestmark = pytest.mark.slow

STORY = [
    ("2013-04-01", "ci", "push", "valid"),
    ("2013-04-01", "train", "workflow_dispatch", "promote"),
    ("2013-04-01", "promote", "push", "live"),
    ("2013-05-01", "monitor", "schedule", "retrain"),
    ("2013-05-01", "promote", "push", "live"),
    ("2013-06-01", "monitor", "schedule", "alert"),
    ("2013-06-02", "train", "schedule", "invalid"),
    ("2013-06-04", "train", "repository_dispatch", "promote"),
    ("2013-06-04", "promote", "push", "live"),
    ("2013-06-06", "rollback", "workflow_dispatch", "live"),
    ("2013-06-06", "rollback", "workflow_dispatch", "live"),
]


def demo(*args: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [Path(sys.executable).with_name("modelyard"), "demo", *args], cwd=cwd, capture_output=True, text=True, check=False
    )


def test_the_story_is_played_and_told(tmp_path: Path) -> None:
    """Every run ends as told; people are called of the broken month, which is refused by name and number; page, table and history agree."""
    done = demo("yard", "--months", "2", "--json", "runs.json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]

    runs = json.loads((tmp_path / "runs.json").read_text())
    assert [(run["date"][:10], run["workflow"], run["event"], run["verdict"]) for run in runs] == STORY
    assert {run["conclusion"] for run in runs} == {"success"}
    assert runs[3]["outputs"]["reason"].startswith("A training is due (decay: ")
    called, refused = runs[5]["outputs"], runs[6]["outputs"]
    assert called["start"] == "false"
    assert called["reason"].startswith("The data are broken (schema: ")
    assert "the training that is due" in called["reason"]
    assert (refused["invalid"], refused["quarantined"]) == ("2013-05", "2013-05")
    root = tmp_path / "yard" / "flights"
    past = history.releases(root)
    assert [entry.release.model.version for entry in past] == ["3", "2", "3", "2", "1"]
    page = (tmp_path / "yard" / "report" / "index.html").read_text()
    assert "<svg" in page
    assert re.findall(r"<td>(promote|data refused|not trained)</td>", page.partition("workflow runs")[0]) == [
        "promote",
        "promote",
        "not trained",
        "data refused",
        "promote",
    ]
    for entry in past[2:]:
        assert entry.commit[:10] in page
        assert entry.commit[:10] in done.stdout
    assert git.head(root) == git.run("rev-parse", "main", cwd=tmp_path / "yard" / "origin.git")


def test_what_cannot_begin_says_why(tmp_path: Path) -> None:
    """A folder that holds something stays as it is; nothing is generated."""
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").touch()

    done = demo("full", cwd=tmp_path)
    assert (done.returncode, "is not empty" in done.stderr, [path.name for path in (tmp_path / "full").iterdir()]) == (2, True, ["mine"])
