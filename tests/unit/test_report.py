"""``report`` and the history it tells: the model card and the audit record."""

from __future__ import annotations

import json
import re
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner
from unit import mini_project
from unit.test_policy import GOOD
from unit.test_release import RECORD

from modelyard import card, checklist, git, history, policy, release, report
from modelyard.card import Around
from modelyard.checklist import Answer, Answers, Review
from modelyard.errors import UsageError
from modelyard.history import Entry
from modelyard.outcome import Outcome
from modelyard.project import CARD, RELEASE, Project

GOLDEN = Path(__file__).parent / "golden" / "card"


def said(*args: str) -> str:
    outcome = CliRunner().invoke(report.command, args, catch_exceptions=False, standalone_mode=False).return_value
    assert isinstance(outcome, Outcome)
    return outcome.summary


def test_the_audit_record_names_every_release(succeeded: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """Newest first, a merge as one release by who merged it; the same as table and as JSON."""
    monkeypatch.chdir(succeeded.root)

    entries = json.loads(said("audit", "--json"))
    table = said()

    assert [entry["model"]["version"] for entry in entries] == ["2", "1"]
    assert [entry["commit"] for entry in entries] == [git.head(succeeded.root), git.head(succeeded.root, "HEAD~2")]
    assert [entry["approved_by"] for entry in entries] == ["Test", "Test"]
    assert table.startswith("**2 releases**")
    assert len(table.splitlines()) == 6


def test_a_record_that_cannot_be_read_does_not_hide_the_others(succeeded: Project) -> None:
    """A broken record in the history, or one deleted, is left out."""
    (succeeded.root / RELEASE).write_text("<<<<<<< HEAD")
    mini_project.commit(succeeded.root, "Break it")
    (succeeded.root / RELEASE).unlink()
    mini_project.commit(succeeded.root, "Delete it")

    assert [entry.release.model.version for entry in history.releases(succeeded.root)] == ["2", "1"]


def test_the_card_is_that_of_the_release(succeeded: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its header is YAML; metrics beside the champion's, data with rows, the release before, and how to rebuild it."""
    monkeypatch.chdir(succeeded.root)

    card = said("card")

    assert card == (succeeded.root / CARD).read_text().rstrip()
    header, body = parts(card)
    judged = release.read((succeeded.root / RELEASE).read_bytes()).evaluation
    (entry,) = header["model-index"]
    assert (header["model_name"], header["pipeline_tag"], entry["name"]) == ("mini", "tabular-classification", "mini")
    metrics = {metric["type"]: metric["value"] for metric in entry["results"][0]["metrics"]}
    assert metrics["roc_auc"] == pytest.approx(judged.challenger, abs=1e-6)
    assert body.startswith("# mini, version 2\n")
    assert f"| roc_auc | {judged.challenger:.4f} (" in body
    assert f" | {judged.champion:.4f} (" in body
    assert "| `data/raw/2013-03.parquet` | 1,240 | " in body
    assert re.search(r"\| \d{4}-\d\d-\d\d \| release \| 1 \| roc_auc 0\.\d{4} \| moderate \| Test \|", body)
    assert "risk level moderate requires none" in body
    assert "{{" not in card


def parts(card: str) -> tuple[dict[str, Any], str]:
    """Header and text of a card."""
    before, header, body = card.split("---\n", 2)
    assert before == ""
    return yaml.safe_load(header), body.lstrip()


def golden(**change: Any) -> str:
    evaluation = json.loads((GOLDEN / "evaluate.json").read_text())
    record = release.read(yaml.safe_dump(RECORD | {"risk": "high"}))
    risk = {"probability": "possible", "impact": "major", "owner": "Ann | Bob", "purpose": "Warns of <b>late</b> flights."}
    rules = policy.parse({**GOOD, "name": "m", "risk": risk, "monitor": {"max_age_days": 400}}, policy.Policy, "modelyard.yaml")
    answers = Answers()
    for name, text in {
        "purpose": "Desks at the gate use it.",
        "limits": "Snow | ice: it has seen none.",
        "contact": "gate@example.org",
    }.items():
        answers = checklist.sign(answers, name, Answer(answer=text, by="Ann <ann@example.org>", date=date(2013, 4, 1), covers_hash="c"))
    answers = checklist.review(answers, "limits", Review(agrees=True, by="Bob", date=date(2013, 4, 2)))
    around = Around(
        license="BSD-3-Clause",
        python="3.11.7",
        versions={"numpy": "2.3.1", "onnxruntime": "1.23.0"},
        rows={"data/raw/2013-01.parquet": 27004},
        releases=entries(12),
        checklist=checklist.judge(answers, "high", {"data": "c", "model": "c", "use": "c"}),
    )
    return card.render(record, evaluation | change, rules, around)


def entries(number: int) -> list[Entry]:
    """Releases, the newest first; the newest puts the third back."""
    versions = ["3", *map(str, range(number, 0, -1))][:number]
    records = [release.read(yaml.safe_dump({**RECORD, "model": {**RECORD["model"], "version": version}})) for version in versions]
    return [Entry("c" * 40, datetime(2013, 3, 31 - day, tzinfo=UTC), "Eve [x](y)", record) for day, record in enumerate(records)]


def test_a_golden_evaluation_gives_a_golden_card() -> None:
    """Each part of the report finds its place; the header is what model hubs read. `python -m unit.test_report` writes it anew."""
    assert golden() == (GOLDEN / "model-card.md").read_text()


def test_the_header_is_what_model_hubs_read() -> None:
    """Licence, task, tags and the metrics on the hold-out, as a model index."""
    header, _ = parts(golden())

    (entry,) = header.pop("model-index")
    (result,) = entry["results"]
    assert header == {
        "model_name": "m",
        "license": "bsd-3-clause",
        "library_name": "onnx",
        "pipeline_tag": "tabular-classification",
        "tags": ["modelyard", "tabular", "binary", "risk-high"],
    }
    assert result["task"] == {"type": "tabular-classification"}
    assert result["dataset"] == {"type": "m", "name": "m, hold-out 2013-03-11 to 2013-04-01", "split": "test"}
    assert {"type": "brier_score", "name": "brier", "value": 0.151235} in result["metrics"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"segments": None}, "None was judged: see evaluate.segments"),
        ({"fairness": None}, "No protected attribute is named"),
        ({"champion": None}, "| roc_auc | 0.7012 (0.6903 to 0.7121) | none |"),
        ({"checks": [], "importance": [], "reasons": []}, "Judged on 21 days"),
    ],
)
def test_what_an_evaluation_lacks_is_said(change: dict[str, Any], said: str) -> None:
    """A report with fewer parts gives a card all the same, whose header is YAML."""
    card = golden(**change)

    assert said in parts(card)[1]
    assert "{{" not in card


def test_only_ten_releases_are_told_and_rollbacks_as_such() -> None:
    """The newest first; what came back is no release of its own."""
    rows = [line for line in parts(golden())[1].splitlines() if line.startswith("| 2013-03-")]

    assert len(rows) == 10
    assert [row.split(" | ")[1] for row in rows] == ["rollback"] + ["release"] * 9


def test_what_people_write_does_not_break_the_card() -> None:
    """Pipes, HTML and links in names and answers are text."""
    _, body = parts(golden())

    assert "| Owner | Ann \\| Bob |" in body
    assert "\\<b>late" in body
    assert "[x](y)" not in body


def test_before_the_first_release(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing released is told as such; a repository without a commit is an error of usage."""
    project = mini_project.yard(tmp_path / "a")
    monkeypatch.chdir(project.root)
    assert said() == "**Nothing was released yet.**"
    with pytest.raises(UsageError, match="no model card"):
        said("card")

    monkeypatch.chdir(mini_project.make(tmp_path / "b", periods=()).root)
    with pytest.raises(UsageError, match="no commit 'HEAD'"):
        said()


if __name__ == "__main__":
    (GOLDEN / "model-card.md").write_text(golden())
