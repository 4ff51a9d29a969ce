"""The responsible-ML checklist ``governance/checklist.yaml``: what a model's makers answer, and another person checks.

Its items stand in the phases of CRISP-ML(Q) [1]_. Each answer carries its author, its date, and a short hash of what it covers, so that
it is asked again once that has changed.

.. [1] S. Studer et al., "Towards CRISP-ML(Q): a machine learning process model with quality assurance methodology", Machine Learning and
   Knowledge Extraction 3 (2021).
"""

from __future__ import annotations

import datetime
import difflib
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import click
import yaml
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from modelyard import clock, policy
from modelyard.errors import PolicyError, UsageError
from modelyard.evaluate.check import Check
from modelyard.outcome import Outcome
from modelyard.person import Person
from modelyard.project import Project, find
from modelyard.risk import Level

FILE = Path("governance/checklist.yaml")

Phase = Literal[
    "business and data understanding",
    "data engineering",
    "model engineering",
    "quality assurance",
    "deployment",
    "monitoring and maintenance",
]
Covers = Literal["data", "model", "use"]
State = Literal["unanswered", "stale", "not reviewed", "reviewed by its author", "reviewed before it changed", "disputed", "reviewed"]


class Standard(NamedTuple):
    """An item that every project has."""

    phase: Phase
    covers: Covers
    question: str
    levels: tuple[Level, ...] = ("high", "critical")


ITEMS: dict[str, Standard] = {
    "purpose": Standard(
        "business and data understanding",
        "use",
        "What is the model for, who uses its predictions, and what must they not be used for?",
    ),
    "business-success": Standard(
        "business and data understanding", "use", "What must get better by its use, for whom, and from which value on is it a success?"
    ),
    "economic-success": Standard(
        "business and data understanding",
        "use",
        "What does a right prediction gain, what does a wrong one cost, and what does it cost to run the model?",
        ("critical",),
    ),
    "people-affected": Standard(
        "business and data understanding", "use", "Who is affected by its predictions, and how might some of them be treated worse?"
    ),
    "provenance": Standard(
        "business and data understanding", "data", "Where do the data come from, who is responsible for them, and what was left out?"
    ),
    "legal-basis": Standard(
        "business and data understanding",
        "data",
        "On what legal basis are the data used, which of them are personal, and how long are they kept?",
    ),
    "representation": Standard("data engineering", "data", "Whom or what do the data not represent, and how do their labels come about?"),
    "availability": Standard(
        "data engineering", "data", "Is every feature known when a prediction is made, and computed in service as it is in training?"
    ),
    "baseline": Standard("model engineering", "model", "Which simpler model was tried, and what makes this one worth more?", ("critical",)),
    "limits": Standard("model engineering", "model", "Where does the model do badly, and when must it not be relied on?"),
    "explanation": Standard(
        "quality assurance", "model", "How is a prediction explained to those who use it, and to those whom it concerns?"
    ),
    "oversight": Standard("deployment", "use", "Who can overrule a prediction, and how do they notice that they should?"),
    "fallback": Standard("deployment", "use", "What happens while the model does not answer, or had to be rolled back?"),
    "contact": Standard(
        "monitoring and maintenance", "use", "Whom do people turn to with questions and complaints, and who takes over from the owner?"
    ),
}


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Signed(_Part):
    by: str = Field(description="Name, or `Name <mail>`.")
    date: datetime.date

    @field_validator("by", "answer", check_fields=False)
    @classmethod
    def _is_said(cls, text: str) -> str:
        if not text.strip():
            raise ValueError("it is empty")
        return text.strip()


class Answer(_Signed):
    """Self-evaluation: what the author of the model says."""

    answer: str
    covers_hash: str = Field("", description="Of what it covers, when it was signed.")

    @property
    def hash(self) -> str:
        """By which a review tells which answer it is of."""
        return _short("\n".join([self.answer, self.by, self.covers_hash]))


class Review(_Signed):
    """Peer review: whether another person agrees."""

    agrees: bool
    note: str = ""
    answer_hash: str = Field("", description="Of the answer that was reviewed.")


class Item(_Part):
    """One question. What is not said of an item that every project has, is as its table says."""

    phase: Phase | None = None
    question: str | None = None
    covers: Covers | None = Field(None, description="What makes its answer stale when it changes.")
    levels: list[Level] | None = Field(None, description="Risk levels at which it is required.")
    self: Answer | None = None
    review: Review | None = None


class Answers(_Part):
    """The whole of ``governance/checklist.yaml``."""

    items: dict[str, Item] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _are_known(self) -> Answers:
        for name, item in self.items.items():
            if name in ITEMS or (item.phase and item.question and item.covers and item.levels is not None):
                continue
            near = difflib.get_close_matches(name, ITEMS, n=1)
            meant = f"did you mean {near[0]!r}? " if near else ""
            raise ValueError(f"items.{name}: unknown item; {meant}one of your own needs phase, question, covers and levels")
        return self

    def get(self, name: str) -> tuple[Standard, Item]:
        """The question, as the project asks it, and what the file says to it."""
        item = self.items.get(name, Item())
        usual = ITEMS.get(name)
        if usual is None:
            return Standard(item.phase, item.covers, item.question, tuple(item.levels or ())), item  # type: ignore[arg-type]  # checked above
        levels = usual.levels if item.levels is None else tuple(item.levels)
        return Standard(item.phase or usual.phase, item.covers or usual.covers, item.question or usual.question, levels), item


class Row(BaseModel):
    """How things stand with one item."""

    id: str
    phase: Phase
    question: str
    covers: Covers
    required: bool = Field(description="At the project's risk level.")
    state: State
    answer: str = ""
    by: str = ""
    date: datetime.date | None = None
    reviewed_by: str = ""
    note: str = ""


class Checklist(BaseModel):
    """How things stand with all of them."""

    level: Level
    rows: list[Row]
    checks: list[Check]


def load(root: Path) -> Answers:
    """Read the project's answers; none where it has no such file.

    Raises
    ------
    PolicyError
        It is no YAML, names an item that there is not, or holds an answer without a name or a date.
    """
    path = root / FILE
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return Answers()
    except (yaml.YAMLError, ValueError) as error:  # ValueError: bytes that are no UTF-8, a date that does not exist
        raise PolicyError(f"{FILE} is no YAML: {error}") from None
    return policy.parse(raw, Answers, FILE.as_posix())


def facts(project: Project) -> dict[Covers, str]:
    """What answers may cover -> short hash of it, as it is now."""
    package, risk = project.source / project.policy.package, project.policy.risk
    model = [package / f"{name}.py" for name in ("features", "train", "model")]
    return {
        "data": _of_files([package / "schema.py", package / "data.py"]),
        "model": _of_files([*model, project.root / "params.yaml"]),
        "use": _short("\n".join([risk.purpose, risk.probability, risk.impact])),
    }


def of(project: Project) -> Checklist:
    """The project's checklist, judged at its risk level."""
    return judge(load(project.root), project.policy.risk.level, facts(project))


def judge(answers: Answers, level: Level, facts: Mapping[Covers, str]) -> Checklist:
    """What is answered, still true, and reviewed by another person; what the level requires of that fails where it is not. No I/O.

    Parameters
    ----------
    facts
        From :func:`facts`: an answer whose hash is another was given for something else.
    """
    rows = []
    for name in [*ITEMS, *(name for name in answers.items if name not in ITEMS)]:
        question, item = answers.get(name)
        said, review = item.self, item.review
        rows.append(
            Row(
                id=name,
                phase=question.phase,
                question=question.question,
                covers=question.covers,
                required=level in question.levels,
                state=_state(said, review, facts[question.covers]),
                answer=said.answer if said else "",
                by=said.by if said else "",
                date=said.date if said else None,
                reviewed_by=review.by if review else "",
                note=review.note if review else "",
            )
        )
    return Checklist(level=level, rows=rows, checks=_checks(rows, level))


def _state(said: Answer | None, review: Review | None, now: str) -> State:
    if said is None:
        return "unanswered"
    if said.covers_hash != now:
        return "stale"
    if review is None:
        return "not reviewed"
    if Person.parse(review.by).is_same(Person.parse(said.by)):
        return "reviewed by its author"
    if review.answer_hash != said.hash:
        return "reviewed before it changed"
    return "reviewed" if review.agrees else "disputed"


def _checks(rows: Sequence[Row], level: Level) -> list[Check]:
    required = [row for row in rows if row.required]
    if not required:
        answered, reviewed = sum(row.state != "unanswered" for row in rows), sum(row.state == "reviewed" for row in rows)
        message = f"{answered} of {len(rows)} items are answered, {reviewed} reviewed by another person; risk level {level} requires none."
        return [Check(family="checklist", name="answers", status="noted", message=message)]
    limit = f"the {len(required)} items that risk level {level} requires"
    open_, stale = ([row.id for row in required if row.state == state] for state in ("unanswered", "stale"))
    unseen = [f"{row.id} ({row.state})" for row in required if row.state not in ("unanswered", "stale", "reviewed")]

    def check(name: str, wrong: list[str], fine: str, bad: str, why: str) -> Check:
        message = f"{bad}: {', '.join(wrong)}." if wrong else fine
        return Check(family="checklist", name=name, status="failed" if wrong else "passed", message=message, limit=limit, why=why)

    answers = check("answers", open_, "All are answered.", f"{FILE} leaves unanswered", "nobody said what the model may do, and to whom")
    if len(open_) == len(required):
        return [answers]
    return [
        answers,
        check(
            "current",
            stale,
            "No answer is stale.",
            "What they cover has changed since the answers to",
            "they were given for something else",
        ),
        check(
            "review",
            unseen,
            "Another person agreed to each answer that is current.",
            "No other person agreed to the answers to",
            "authors overlook their own mistakes",
        ),
    ]


def sign(answers: Answers, name: str, answer: Answer) -> Answers:
    """With the author's answer; a review of the one before is dropped. No I/O."""
    return _with(answers, name, {"self": answer, "review": None})


def review(answers: Answers, name: str, review: Review) -> Answers:
    """With another person's review of the answer.

    Raises
    ------
    UsageError
        There is no answer, or its author reviews it.
    """
    said = _known(answers, name).self
    if said is None:
        raise UsageError(f"{name} is not answered yet.", f"First: modelyard checklist sign --item {name} --answer ... --by ...")
    if Person.parse(review.by).is_same(Person.parse(said.by)):
        raise UsageError(f"{said.by} wrote the answer to {name}, and cannot review it.", "Let another person do it.")
    return _with(answers, name, {"review": review.model_copy(update={"answer_hash": said.hash})})


def _known(answers: Answers, name: str) -> Item:
    if name in ITEMS or name in answers.items:
        return answers.get(name)[1]
    near = difflib.get_close_matches(name, [*ITEMS, *answers.items], n=1)
    raise UsageError(f"There is no item {name!r}.", f"Did you mean {near[0]!r}?" if near else "`modelyard checklist` lists them.")


def _with(answers: Answers, name: str, change: Mapping[str, object]) -> Answers:
    item = _known(answers, name)
    usual = {} if name in answers.items else {"phase": ITEMS[name].phase, "question": ITEMS[name].question}
    return Answers(items={**answers.items, name: item.model_copy(update={**usual, **change})})


class _Dumper(yaml.SafeDumper):
    """Writes as the template is written, an answer a line, so that a signature is a small change."""


_Dumper.add_representer(list, lambda dumper, content: dumper.represent_sequence("tag:yaml.org,2002:seq", content, flow_style=True))


def write(root: Path, answers: Answers) -> None:
    """Write the answers; the comment at the top of the file stays."""
    path = root / FILE
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    head = [line for index, line in enumerate(lines) if all(other.startswith("#") for other in lines[: index + 1])]
    content = {"items": {name: item.model_dump(exclude_none=True, exclude_defaults=True) for name, item in answers.items.items()}}
    body = yaml.dump(content, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=10_000)
    path.parent.mkdir(exist_ok=True)
    path.write_text("\n".join([*head, body]), encoding="utf-8")


def table(found: Checklist) -> str:
    """Markdown: an item a row."""
    lines = ["| item | required | state | answered by | reviewed by |", "|---|---|---|---|---|"]
    for row in found.rows:
        by = f"{row.by}, {row.date}" if row.by else ""
        cells = [row.id, "yes" if row.required else "", row.state, by, row.reviewed_by]
        lines.append(f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |")
    return "\n".join(lines)


def _of_files(paths: Sequence[Path]) -> str:
    return _short("\n".join(f"{path.name}\n{path.read_text(encoding='utf-8')}" for path in paths if path.exists()))


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]


@click.group("checklist", invoke_without_command=True)
@click.pass_context
def command(context: click.Context) -> Outcome | None:
    """Show the responsible-ML checklist, or sign an answer of it.

    An item a row: whether the project's risk level requires it, how it stands, who answered and who reviewed. What is required and
    missing makes evaluate block.
    """
    if context.invoked_subcommand:
        return None
    found = of(find())
    questions = [f"- **{row.id}**: {row.question}" for row in found.rows if row.state in ("unanswered", "stale")]
    wrong = tuple(check.message for check in found.checks if check.status == "failed")
    first = " ".join(check.message for check in found.checks if check.status in ("failed", "noted")) or "All that is required is there."
    parts = [f"**checklist, risk level {found.level}**: {first}", table(found), "\n".join(questions)]
    return Outcome(verdict="", summary="\n\n".join(filter(None, parts)), problems=wrong)


@command.command("sign")
@click.option("--item", required=True, help="The item's id, as `modelyard checklist` lists it.")
@click.option("--by", required=True, help="Who signs: a name, or `Name <mail>`.")
@click.option("--answer", help="The answer of the author; left out, the one that is there is signed again.")
@click.option("--review", "is_review", is_flag=True, help="Sign as the reviewer, another person, who agrees with the answer.")
@click.option("--disagree", is_flag=True, help="With --review: the reviewer does not agree.")
@click.option("--note", default="", help="With --review: what the reviewer remarks.")
@clock.now_option
def _sign_command(item: str, by: str, answer: str | None, is_review: bool, disagree: bool, note: str, now: datetime.datetime) -> Outcome:
    """Write an answer, or a review of it, with name, date and what it covers into governance/checklist.yaml."""
    project = find()
    answers = load(project.root)
    said = _known(answers, item).self
    if not by.strip():
        raise UsageError("--by is empty.", "Say who signs.")
    if is_review and answer is not None:
        raise UsageError("A review changes no answer.", "Leave out --answer; what is to be said goes into --note.")
    if not is_review and (disagree or note):
        raise UsageError("--disagree and --note belong to a review.", "Add --review.")
    if is_review:
        signed = review(answers, item, Review(agrees=not disagree, by=by, date=now.date(), note=note))
    else:
        text = answer if answer is not None else said.answer if said else ""
        if not text.strip():
            raise UsageError(f"What is the answer to {item}?", f"Add --answer. {answers.get(item)[0].question}")
        covers = facts(project)[answers.get(item)[0].covers]
        signed = sign(answers, item, Answer(answer=text, by=by, date=now.date(), covers_hash=covers))
    write(project.root, signed)
    (row,) = [row for row in of(project).rows if row.id == item]
    return Outcome(verdict="", summary=f"**checklist: {item} is {row.state}**, signed by {by} on {now:%Y-%m-%d}. Commit {FILE}.")
