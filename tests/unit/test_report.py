"""``report`` and the history it tells: the model card and the audit record."""

from __future__ import annotations

import json
import re
import shutil
from datetime import UTC, date, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner
from unit import mini_project
from unit.test_policy import GOOD
from unit.test_release import RECORD

from modelyard import card, checklist, git, history, policy, promote, registry, release, report, state
from modelyard.card import Around
from modelyard.checklist import Answer, Answers, Review
from modelyard.errors import UsageError
from modelyard.history import Entry
from modelyard.outcome import Outcome
from modelyard.person import Approval, Person
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


def test_the_audit_record_names_all_who_approved(succeeded: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of one release promote noted them, of the other git knows them; a signature counts for the release that it follows."""
    monkeypatch.chdir(succeeded.root)
    merged = git.run("log", "-1", "--format=%cI", cwd=succeeded.root)
    for name in ("Ann <ann@example.org>", "Test <other@example.org>"):
        git.run("commit", "--quiet", "--allow-empty", "-m", f"Sign\n\nApproved-by: {name}", cwd=succeeded.root)
    signed = git.run("log", "-1", "--format=%cI", "HEAD~1", cwd=succeeded.root)
    connection = registry.connect(succeeded.root / state.FOLDER)
    registry.set_tags(
        connection, "mini", "1", {promote.APPROVED: "bob (review; risk), Eve <eve@example.org> (trailer 2013-03-02T00:00:00+00:00)"}
    )

    newest, oldest = json.loads(said("audit", "--json"))
    rows = said().splitlines()[-2:]

    assert oldest["approvals"] == [
        {"name": "", "id": "bob", "roles": ["risk"], "how": "review", "when": None},
        {"name": "Eve", "id": "eve@example.org", "roles": [], "how": "trailer", "when": "2013-03-02T00:00:00+00:00"},
    ]
    assert newest["approvals"] == [
        {"name": "Test", "id": "test@example.com", "roles": [], "how": "commit", "when": iso(merged)},
        {"name": "Ann", "id": "ann@example.org", "roles": [], "how": "trailer", "when": iso(signed)},
    ]
    assert (newest["approved_by"], oldest["approved_by"]) == ("Test, Ann", "bob, Eve")
    assert rows[0].endswith(f"| Test (commit {iso(merged)[:10]}), Ann (trailer {iso(signed)[:10]}) |")
    assert rows[1].endswith("| bob (review; risk), Eve (trailer 2013-03-02) |")


def iso(date: str) -> str:
    return datetime.fromisoformat(date).astimezone(UTC).isoformat()


def test_without_a_registry_git_says_who_approved(succeeded: Project, capfd: pytest.CaptureFixture[str]) -> None:
    """And what could not be asked is said; whom no human name stands for is not known, and a policy is no person."""
    record = release.read((succeeded.root / RELEASE).read_bytes())
    for version, author, approved_by in (("3", f"modelyard <{git.NOBODY}>", None), ("4", "Test <test@example.com>", "policy: risk low")):
        model = record.model.model_copy(update={"version": version})
        (succeeded.root / RELEASE).write_text(release.write(record.model_copy(update={"model": model, "approved_by": approved_by})))
        git.run("commit", "--quiet", "--all", "-m", "Release", "--author", author, cwd=succeeded.root)
    shutil.rmtree(succeeded.root / state.FOLDER)

    entries = history.approved(succeeded)

    assert [[each.person.name for each in entry.approvals] for entry in entries] == [["risk low"], [], ["Test"], ["Test"]]
    assert entries[0].approvals[0].how == "policy"
    assert history.names(entries[1]) == "not known"
    assert "There is no registry here, so git says who approved" in capfd.readouterr().err


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
    assert re.search(r"\| (\d{4}-\d\d-\d\d) \| release \| 1 \| roc_auc 0\.\d{4} \| moderate \| Test \(commit \d{4}-\d\d-\d\d\) \|", body)
    assert "risk level moderate requires none" in body
    assert "{{" not in card
    assert "\n\n\n" not in card


def parts(card: str) -> tuple[dict[str, Any], str]:
    """Header and text of a card."""
    before, header, body = card.split("---\n", 2)
    assert before == ""
    return yaml.safe_load(header), body.lstrip()


def golden(*, answered: bool = True, **change: Any) -> str:
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
        checklist=checklist.judge(answers if answered else Answers(), "high", {"data": "c", "model": "c", "use": "c"}),
    )
    return card.render(record, evaluation | change, rules, around)


def entries(number: int) -> list[Entry]:
    """Releases, the newest first; the newest puts the third back."""
    versions = ["3", *map(str, range(number, 0, -1))][:number]
    records = [release.read(yaml.safe_dump({**RECORD, "model": {**RECORD["model"], "version": version}})) for version in versions]
    eve = Person("Eve [x](y)", "eve@example.org")
    dates = [datetime(2013, 3, 31 - day, tzinfo=UTC) for day in range(len(records))]
    told = [[Approval(eve, "commit", date), Approval(Person("", "bob"), "review", None, ("risk",))] for date in dates]
    return [
        Entry("c" * 40, date, eve, record, is_rollback=not day, approvals=told[day] if day < 5 else [])
        for day, (date, record) in enumerate(zip(dates, records, strict=True))
    ]


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
    "change",
    [
        {},
        {"answered": False},
        *({part: None} for part in ("segments", "fairness", "champion", "inputs")),
        *({part: []} for part in ("checks", "importance", "reasons")),
        {"answered": False, "fairness": None, "reasons": [], "checks": [], "segments": None},
    ],
    ids=lambda change: "-".join(change) or "whole",
)
def test_parts_of_the_card_are_one_blank_line_apart(change: dict[str, Any]) -> None:
    """Headings, texts, lists and tables, whichever of them a release has; each attribute has a table of its own."""
    attributes = json.loads((GOLDEN / "evaluate.json").read_text())["fairness"]["attributes"]

    body = parts(golden(**{"fairness": {"attributes": attributes * 2}, **change}))[1]

    kinds = [line[:1] if line[:1] in ("", "#", "|", "-") else "text" for line in body.splitlines()]
    apart = [(first, second) for first, second in pairwise(kinds) if first != second and "" not in (first, second)]
    assert apart == []
    assert "\n\n\n" not in body


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


def test_a_failed_check_that_nobody_demands_says_so() -> None:
    """Who reads the card must see why a model with a failed check may serve."""
    checks = [
        {"family": family, "name": "latency", "status": "failed", "message": "Too slow.", "value": None, "limit": ""}
        for family in ("readiness", "champion")
    ]
    body = parts(golden(checks=checks, risk="low", demand={"checks": ["criteria"], "approvers": 0, "inconclusive": "noted"}))[1]

    assert "- readiness, latency (failed, not demanded at low): Too slow." in body
    assert "- champion, latency (failed): Too slow." in body


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
