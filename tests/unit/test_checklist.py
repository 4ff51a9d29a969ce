"""The responsible-ML checklist: how answers and reviews are judged, and the command that signs them."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner
from unit import mini_project

from modelyard import checklist, policy
from modelyard.checklist import ITEMS, Answer, Answers, Checklist, Review
from modelyard.errors import PolicyError, UsageError
from modelyard.outcome import Outcome
from modelyard.project import Project
from modelyard.risk import LEVELS, Level

DAY = datetime.date(2013, 4, 1)
FACTS: dict[checklist.Covers, str] = {"data": "d" * 12, "model": "m" * 12, "use": "u" * 12}
SKELETON = Path(__file__).parents[2] / "{{cookiecutter.project_slug}}"
ANN, BOB = "Ann <ann@example.org>", "Bob <bob@example.org>"


def signed(*without: str, by: str = ANN, reviewer: str = BOB) -> Answers:
    """All items answered and reviewed, but for those named."""
    answers = Answers()
    for name, item in ITEMS.items():
        if name not in without:
            answers = checklist.sign(answers, name, Answer(answer="Yes.", by=by, date=DAY, covers_hash=FACTS[item.covers]))
            answers = checklist.review(answers, name, Review(agrees=True, by=reviewer, date=DAY))
    return answers


def told(found: Checklist) -> dict[str, tuple[str, str]]:
    return {check.name: (check.status, check.message) for check in found.checks}


def test_the_items_cover_all_phases() -> None:
    """Six phases of CRISP-ML(Q), in their order, each with an item; critical requires all of them."""
    phases = list(dict.fromkeys(item.phase for item in ITEMS.values()))

    assert phases == list(checklist.Phase.__args__)  # type: ignore[attr-defined]
    assert len(ITEMS) == 14
    assert {item.covers for item in ITEMS.values()} == set(FACTS)
    assert all("critical" in item.levels for item in ITEMS.values())


def test_the_template_asks_what_the_table_asks() -> None:
    """Same items, phases, questions, levels; nothing is answered yet."""
    answers = checklist.load(SKELETON)

    assert list(answers.items) == list(ITEMS)
    assert {name: answers.get(name)[0] for name in ITEMS} == ITEMS
    assert {row.state for row in checklist.judge(answers, "high", FACTS).rows} == {"unanswered"}


@pytest.mark.parametrize("level", ["low", "moderate"])
def test_at_small_risk_everything_is_only_noted(level: Level) -> None:
    """One check that tells how things stand, whatever they are."""
    found = checklist.judge(signed("purpose", "limits"), level, FACTS)

    assert told(found) == {
        "answers": ("noted", f"12 of 14 items are answered, 12 reviewed by another person; risk level {level} requires none.")
    }


def test_without_answers_a_high_level_fails_with_their_ids() -> None:
    """A project that has no such file has not answered either; what only critical requires is not asked for at high."""
    found = told(checklist.judge(Answers(), "high", FACTS))

    assert list(found) == ["answers"]
    assert found["answers"][0] == "failed"
    assert found["answers"][1].startswith("governance/checklist.yaml leaves unanswered: purpose, business-success, people-affected")
    assert "economic-success" not in found["answers"][1]
    assert "economic-success" in told(checklist.judge(Answers(), "critical", FACTS))["answers"][1]


@pytest.mark.parametrize("level", ["high", "critical"])
def test_answered_reviewed_and_current_passes(level: Level) -> None:
    """Three checks, each with what is demanded and why."""
    found = checklist.judge(signed(), level, FACTS)

    assert {name: status for name, (status, _) in told(found).items()} == {"answers": "passed", "current": "passed", "review": "passed"}
    assert all(check.family == "checklist" and check.limit and check.why for check in found.checks)
    assert {row.state for row in found.rows} == {"reviewed"}


def test_one_missing_answer_fails() -> None:
    """Even where all others are fine."""
    found = told(checklist.judge(signed("fallback"), "high", FACTS))

    assert found["answers"] == ("failed", "governance/checklist.yaml leaves unanswered: fallback.")
    assert found["review"][0] == "passed"


@pytest.mark.parametrize("part", ["data", "model", "use"])
def test_an_answer_is_asked_for_again_where_what_it_covers_changed(part: checklist.Covers) -> None:
    """Those that cover it are stale, and no others."""
    found = checklist.judge(signed(), "critical", {**FACTS, part: "other"})

    stale = [name for name, item in ITEMS.items() if item.covers == part]
    assert told(found)["current"] == ("failed", f"What they cover has changed since the answers to: {', '.join(stale)}.")
    assert [row.id for row in found.rows if row.state == "stale"] == stale
    assert told(checklist.judge(signed(), "moderate", {**FACTS, part: "other"}))["answers"][0] == "noted"


def _by_hand(review: dict[str, Any] | None) -> Checklist:
    said = {"answer": "Yes.", "by": ANN, "date": DAY, "covers_hash": FACTS["use"]}
    item = {"self": said} | ({"review": review} if review else {})
    content = signed().model_dump(exclude_none=True)
    content["items"]["purpose"] = item
    return checklist.judge(Answers.model_validate(content), "high", FACTS)


@pytest.mark.parametrize(
    ("review", "state"),
    [
        (None, "not reviewed"),
        ({"agrees": True, "by": "ann <ANN@example.org>", "date": DAY}, "reviewed by its author"),
        ({"agrees": True, "by": "ann@example.org", "date": DAY}, "reviewed by its author"),
        ({"agrees": True, "by": " ANN ", "date": DAY}, "reviewed by its author"),
        ({"agrees": True, "by": "Ann <other@example.org>", "date": DAY}, "reviewed by its author"),
        ({"agrees": True, "by": BOB, "date": DAY, "answer_hash": "0" * 12}, "reviewed before it changed"),
        ({"agrees": True, "by": BOB, "date": DAY}, "reviewed before it changed"),
    ],
)
def test_a_review_by_nobody_by_the_author_or_of_another_answer_fails(review: dict[str, Any] | None, state: str) -> None:
    """The same name or the same mail is the same person; a review is of one answer."""
    assert told(_by_hand(review))["review"] == ("failed", f"No other person agreed to the answers to: purpose ({state}).")


def test_a_reviewer_may_disagree() -> None:
    """Then the answer does not stand."""
    answers = checklist.review(signed(), "limits", Review(agrees=False, by=BOB, date=DAY, note="Nights are missing."))

    found = checklist.judge(answers, "high", FACTS)

    assert told(found)["review"] == ("failed", "No other person agreed to the answers to: limits (disputed).")
    assert [row.note for row in found.rows if row.id == "limits"] == ["Nights are missing."]


def test_a_new_answer_needs_a_new_review() -> None:
    """What the reviewer agreed to is not what stands there now."""
    answers = checklist.sign(signed(), "purpose", Answer(answer="Another.", by=ANN, date=DAY, covers_hash=FACTS["use"]))

    assert told(checklist.judge(answers, "high", FACTS))["review"][1].endswith("purpose (not reviewed).")


def test_a_project_may_ask_more_and_less() -> None:
    """An item of its own, required from moderate on; another wording; an item that no level requires."""
    own = {"phase": "deployment", "question": "Who pays?", "covers": "use", "levels": ["moderate", "high", "critical"]}
    answers = Answers.model_validate({"items": {"payer": own, "purpose": {"question": "What for?"}, "fallback": {"levels": []}}})

    found = checklist.judge(answers, "moderate", FACTS)

    assert told(found)["answers"] == ("failed", "governance/checklist.yaml leaves unanswered: payer.")
    assert {row.id: row.question for row in found.rows}["purpose"] == "What for?"
    assert "fallback" not in told(checklist.judge(answers, "critical", FACTS))["answers"][1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"items: [", r"governance/checklist\.yaml is no YAML"),
        (b"\xff\xfe", r"governance/checklist\.yaml is no YAML"),
        (b"", "is empty"),
        (b"- purpose", "must hold keys and values, not list"),
        (b"item: {}", "item: unknown key; did you mean 'items'"),
        (b"items: {purpos: {}}", "items.purpos: unknown item; did you mean 'purpose'"),
        (b"items: {zzz: {question: q}}", "items.zzz: unknown item; one of your own needs phase, question, covers and levels"),
        (b"items: {purpose: {self: {answer: a, by: b}}}", "items.purpose.self.date: missing"),
        (b"items: {purpose: {self: {answer: a, date: 2013-04-01}}}", "items.purpose.self.by: missing"),
        (b"items: {purpose: {self: {answer: a, by: ' ', date: 2013-04-01}}}", "items.purpose.self.by: it is empty"),
        (b"items: {purpose: {self: {answer: '', by: b, date: 2013-04-01}}}", "items.purpose.self.answer: it is empty"),
        (b"items: {purpose: {self: {answer: a, by: b, date: soon}}}", "items.purpose.self.date: .*valid date"),
        (b"items: {purpose: {review: {by: b, date: 2013-04-01}}}", "items.purpose.review.agrees: missing"),
        (b"items: {purpose: {self: yes}}", "items.purpose.self"),
        (b"items: {purpose: {levels: [medium]}}", "items.purpose.levels.0: .*'moderate'"),
    ],
)
def test_a_file_that_says_it_wrongly_is_told(tmp_path: Path, text: bytes, message: str) -> None:
    """No YAML, unknown items, an answer without name, date or words: one message that names the place."""
    (tmp_path / checklist.FILE).parent.mkdir()
    (tmp_path / checklist.FILE).write_bytes(text)

    with pytest.raises(PolicyError, match=message):
        checklist.load(tmp_path)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    made = mini_project.make(tmp_path, periods=(), risk={"probability": "possible", "impact": "major"})
    (tmp_path / checklist.FILE).parent.mkdir()
    (tmp_path / checklist.FILE).write_bytes((SKELETON / checklist.FILE).read_bytes())
    monkeypatch.chdir(tmp_path)
    return made


def run(*args: str) -> Outcome:
    done = CliRunner().invoke(checklist.command, args, catch_exceptions=False, standalone_mode=False).return_value
    assert isinstance(done, Outcome)
    return done


def sign(item: str, *args: str, by: str = ANN) -> str:
    return run("sign", "--item", item, "--by", by, "--now", "2013-04-01", *args).summary


def test_signing_and_reviewing(project: Project) -> None:
    """Name, date and what it covers are written; the comments at the top stay, the other items too."""
    assert sign("limits", "--answer", "Snow: it has seen none.") == (
        f"**checklist: limits is not reviewed**, signed by {ANN} on 2013-04-01. Commit governance/checklist.yaml."
    )
    assert sign("limits", "--review", "--note", "So it is.", by=BOB).startswith("**checklist: limits is reviewed**")

    text = (project.root / checklist.FILE).read_text()
    item = yaml.safe_load(text)["items"]["limits"]
    before = (SKELETON / checklist.FILE).read_text().splitlines()
    assert [line for line in text.splitlines() if line in before] == before  # a signature is a small change
    assert text.startswith("# What the makers of this model answer")
    assert list(yaml.safe_load(text)["items"]) == list(ITEMS)
    assert item["self"] == {"by": ANN, "date": DAY, "answer": "Snow: it has seen none.", "covers_hash": checklist.facts(project)["model"]}
    assert (item["review"]["by"], item["review"]["agrees"], item["review"]["note"]) == (BOB, True, "So it is.")


def test_the_table_tells_how_it_stands(project: Project) -> None:
    """The level, what is missing, an item a row, and the questions that are open."""
    sign("limits", "--answer", "Snow | ice.")

    shown = run()

    assert shown.summary.startswith("**checklist, risk level high**: governance/checklist.yaml leaves unanswered: purpose, ")
    assert f"| limits | yes | not reviewed | {ANN}, 2013-04-01 |  |" in shown.summary
    assert "| baseline |  | unanswered |  |  |" in shown.summary
    assert "- **purpose**: What is the model for" in shown.summary
    assert "**limits**" not in shown.summary
    assert shown.problems[1] == "No other person agreed to the answers to: limits (not reviewed)."


def test_code_that_changes_makes_its_answers_stale_until_they_are_signed_again(project: Project) -> None:
    """The schema, the model's code, the purpose: each asks again for what covers it; signing again keeps the answer."""
    for item in ("limits", "provenance", "purpose"):
        sign(item, "--answer", "Yes.")
    package = project.source / project.policy.package
    (package / "schema.py").write_text((package / "schema.py").read_text() + "# wider\n")
    (project.root / "params.yaml").write_text("noise: 1\n")
    risky = project.policy.risk.model_copy(update={"purpose": "Pricing"})

    states = {row.id: row.state for row in checklist.of(project).rows}
    other = checklist.of(Project(project.root, project.policy.model_copy(update={"risk": risky})))

    assert (states["limits"], states["provenance"], states["purpose"]) == ("stale", "stale", "not reviewed")
    assert {row.id: row.state for row in other.rows}["purpose"] == "stale"
    assert sign("limits").startswith("**checklist: limits is not reviewed**")
    assert {row.id: row.answer for row in checklist.of(project).rows}["limits"] == "Yes."


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("--item", "limit", "--by", ANN, "--answer", "a"), "There is no item 'limit'.\nDid you mean 'limits'"),
        (("--item", "zzz", "--by", ANN, "--answer", "a"), "There is no item 'zzz'.\n`modelyard checklist` lists them"),
        (("--item", "limits", "--by", ANN), "What is the answer to limits"),
        (("--item", "limits", "--by", ANN, "--answer", " "), "What is the answer to limits"),
        (("--item", "limits", "--by", " ", "--answer", "a"), "--by is empty"),
        (("--item", "limits", "--by", BOB, "--review"), "limits is not answered yet"),
        (("--item", "purpose", "--by", "ann@example.org", "--review"), "wrote the answer to purpose, and cannot review it"),
        (("--item", "purpose", "--by", BOB, "--review", "--answer", "a"), "A review changes no answer"),
        (("--item", "purpose", "--by", BOB, "--answer", "a", "--disagree"), "belong to a review"),
    ],
)
def test_what_cannot_be_signed_is_told(project: Project, args: tuple[str, ...], message: str) -> None:
    """Unknown items, no words, no name, a review of nothing or of one's own; the file stays as it is."""
    sign("purpose", "--answer", "To warn.")
    before = (project.root / checklist.FILE).read_text()

    with pytest.raises(UsageError) as caught:
        run("sign", *args)

    assert message in str(caught.value)
    assert (project.root / checklist.FILE).read_text() == before


def test_a_project_without_the_file_can_begin_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first signature makes it."""
    made = mini_project.make(tmp_path, periods=())
    monkeypatch.chdir(tmp_path)

    sign("contact", "--answer", "ann@example.org")

    assert [name for name, item in checklist.load(tmp_path).items.items() if item.self] == ["contact"]
    assert policy.load(made.root).risk.level in LEVELS
