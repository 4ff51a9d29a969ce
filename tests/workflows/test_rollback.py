"""Workflow `rollback`: an earlier release comes back by a new commit, whatever main's code has become since."""

from __future__ import annotations

from pathlib import Path

import pytest
from workflows.conftest import Scene

from modelyard import git, store
from modelyard.project import CARD, RELEASE

pytestmark = pytest.mark.slow

RESTORED = {store.LOCK.as_posix(), RELEASE.as_posix(), CARD.as_posix(), "data/raw/2013-04.parquet.dvc"}


def test_back_and_forth(second: Scene, tmp_path: Path) -> None:
    """The previous release, which main's newer features do not fit, is rebuilt from its own commit and is live; then the later one."""
    yard = second.yard.copy(tmp_path)
    before = yard.refs()
    first = before["main"]
    run = yard.happen("workflow_dispatch", "rollback", inputs={"reason": "Complaints from the service desk."})
    after = yard.refs()

    assert run.conclusion == "success", run.log
    assert (run.verdict, run.outputs["version"], run.outputs["merged"]) == ("live", "1", "true")
    assert git.head(yard.origin, "main^") == first
    assert yard.changed(first, "main") == RESTORED
    assert "Complaints from the service desk." in git.run("log", "-1", "--format=%B", "main", cwd=yard.origin)
    assert after["modelyard/release"] == before["modelyard/release"]
    assert yard.alias() == yard.record().model.version == "1"
    yard.pull()
    assert "night" in (yard.root / "src/flights/features.py").read_text()
    checked = yard.command("promote", "--dry-run")
    assert checked.returncode == 0, checked.stdout + checked.stderr

    run = yard.happen("workflow_dispatch", "rollback", inputs={"to": "2"})

    assert run.conclusion == "success", run.log
    assert (run.verdict, run.outputs["version"]) == ("live", "2")
    assert git.run("rev-parse", "main^{tree}", cwd=yard.origin) == git.run("rev-parse", f"{first}^{{tree}}", cwd=yard.origin)
    assert yard.alias() == yard.record().model.version == "2"


def test_where_main_is_protected_it_is_proposed(second: Scene, tmp_path: Path) -> None:
    """Main refuses the push: the rollback waits on the release branch, and the champion stays; merged, it is promoted."""
    yard = second.yard.copy(tmp_path)
    protection = yard.refuse("refs/heads/main")
    before = yard.refs()
    run = yard.happen("workflow_dispatch", "rollback", inputs={"to": "1"})

    assert run.conclusion == "success", run.log
    assert (run.verdict, run.outputs["merged"]) == ("proposed", "false")
    assert "protected branch" in run.log
    assert yard.refs() == before | {"modelyard/release": run.outputs["commit"]}
    assert yard.record("modelyard/release").model.version == "1"
    assert yard.alias() == "2"

    protection.unlink()
    merged = yard.approve()
    yard.push()
    run = yard.happen("push", "promote", before=merged)
    assert run.verdict == "live", run.log
    assert yard.alias() == "1"


@pytest.mark.parametrize(
    ("to", "message"),
    [("99", "There is no release '99'."), ("2", "Version 2 is what main records already."), ("", "There is no release ''.")],
)
def test_an_impossible_target_is_told(second: Scene, tmp_path: Path, to: str, message: str) -> None:
    """A target that is no earlier release is bad usage; nothing changes."""
    yard = second.yard.copy(tmp_path)
    before = yard.refs()
    done = yard.command("rollback", "--to", to)

    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert yard.refs() == before


def test_nothing_lies_before_the_first_release(released: Scene, tmp_path: Path) -> None:
    """The workflow fails, and says why, where there is no earlier release."""
    yard = released.yard.copy(tmp_path)
    before = yard.refs()
    run = yard.happen("workflow_dispatch", "rollback")

    assert run.conclusion == "failure"
    assert "Version 1 is the only release: there is none before it." in run.log
    assert yard.refs() == before
