"""The release gate: each family of checks blocks a training by itself, and each risk level asks for what it must.

Stories of one to five runs are told, each in a project of its own; the tests look at their runs.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from workflows.conftest import Scene
from workflows.yard import APRIL, MAY, Yard

from modelyard import git, jsonfile
from modelyard.evaluate.report import Evaluation
from modelyard.person import Person, noted
from modelyard.promote import APPROVED
from modelyard.risk import FAMILIES, Family

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]  # the first test waits until all stories are told

OCTOBER = datetime(2013, 10, 1, 6, tzinfo=UTC)
ADA = Person("Ada Approver", "ada@example.org")  # she wrote the project
BEN = Person("Ben Ray", "ben@example.org")
CLEO = Person("Cleo Sand", "cleo@example.org")
RITA = Person("Rita Hall", "rita@example.org")
JOB = Person("github-actions[bot]", "github-actions[bot]@users.noreply.github.com")
POLICY = "modelyard.yaml"


@dataclass(frozen=True)
class Scenes:
    """Where stories begin, and the folder in which they are told."""

    fresh: Scene
    proposed: Scene
    released: Scene
    folder: Path

    def begin(self, scene: str, story: Callable[..., object]) -> Scene:
        """A scene to go on with."""
        start: Scene = getattr(self, scene)
        return Scene(start.yard.copy(self.folder / story.__name__))


Story = Callable[[Scenes], Scene]


def approve(scene: Scene, merging: Person, second: Person, third: Person) -> None:
    """Merge, which does not suffice with the second person's signature; with the third's it does."""
    before = scene.yard.approve(merging)
    scene.yard.sign(second)
    scene.happen("one lacks", "push", before=before, conclusion="failure")
    scene.yard.sign(third)
    scene.happen("enough", "workflow_dispatch", "promote")


def high(scenes: Scenes) -> Scene:
    """From an unanswered checklist to a live model, and the training that monitor starts then."""
    scene = scenes.begin("proposed", high)
    yard = scene.yard
    yard.put(POLICY, "risk.impact", "major")
    yard.commit("High risk")
    scene.happen("unanswered", "schedule", "train", APRIL)

    yard.answer(ADA, reviewer=BEN)
    yard.commit("The checklist")
    scene.happen("answered", "schedule", "train", APRIL)

    approve(scene, BEN, ADA, CLEO)

    yard.put(POLICY, "evaluate.threshold", 0.2)
    yard.put(POLICY, "evaluate.fairness", {"attributes": ["origin"], "min_ratio": 0.95, "max_gap": 0.02})
    yard.put(POLICY, "evaluate.margin", 0.06)
    grow_old(yard, max_age_days=21)
    yard.commit("Airports must be treated alike")
    scene.happen("monitor", "schedule", "monitor", MAY)
    return scene


def critical(scenes: Scenes) -> Scene:
    """From the first training to a live model, and what monitor may do once it is old."""
    scene = scenes.begin("proposed", critical)
    yard = scene.yard
    yard.put(POLICY, "risk.probability", "likely")
    yard.put(POLICY, "risk.impact", "severe")
    yard.put(POLICY, "risk.roles", {"risk": [RITA.id]})
    yard.put(POLICY, "evaluate.threshold", 0.2)
    yard.put(POLICY, "evaluate.fairness", {"attributes": ["origin"], "min_ratio": 0.1, "max_gap": 0.9})
    grow_old(yard, max_age_days=400)
    yard.answer(ADA, reviewer=BEN)
    yard.commit("Critical risk")
    scene.happen("train", "schedule", "train", APRIL)

    approve(scene, BEN, CLEO, RITA)
    scene.happen("monitor", "schedule", "monitor", OCTOBER)
    return scene


def low(scenes: Scenes) -> Scene:
    """The first release where the risk is low; a check that only higher levels demand fails."""
    scene = scenes.begin("fresh", low)
    scene.yard.put("params.yaml", "train.iterations", 20)
    scene.yard.put(POLICY, "risk.impact", "negligible")
    large_file(scene.yard)
    scene.yard.commit("Low risk")
    scene.happen("train", "schedule", "train", APRIL)
    return scene


def moderate(scenes: Scenes) -> Scene:
    """An old champion, and a training that ruins a carrier."""
    scene = scenes.begin("released", moderate)
    grow_old(scene.yard, max_age_days=21)
    ruined_carrier(scene.yard)
    scene.yard.commit("A mistake")
    scene.happen("monitor", "schedule", "monitor", MAY)
    return scene


def merged_by_a_job(scenes: Scenes) -> Scene:
    """No person has approved."""
    scene = scenes.begin("proposed", merged_by_a_job)
    before = scene.yard.approve(JOB)
    scene.yard.push()
    scene.happen("one lacks", "push", before=before, conclusion="failure")
    return scene


def grow_old(yard: Yard, max_age_days: int) -> None:
    yard.put(POLICY, "monitor.max_age_days", max_age_days)
    yard.put(POLICY, "monitor.shadow", False)  # nothing asked here needs fresh models beside the live one


def missed_criterion(yard: Yard) -> None:
    yard.put(POLICY, "evaluate.criteria.roc_auc.min", 0.99)


def shuffled_labels(yard: Yard) -> None:
    """Nothing can be learned; the criterion that is left is met by any model that says the average."""
    flights = yard.flights()
    trained = flights["scheduled"] < datetime(2013, 3, 11)
    flights.loc[trained, "late"] = np.random.default_rng(0).permutation(flights.loc[trained, "late"])
    yard.supply(flights)
    yard.put(POLICY, "evaluate.criteria", {"brier": {"max": 0.25}})


def longer_holdout(yard: Yard) -> None:
    """It begins on 2 March; the champion was trained up to 10 March."""
    yard.put(POLICY, "evaluate.holdout_days", 60)


def wrong_expectation(yard: Yard) -> None:
    yard.put(POLICY, "evaluate.expectations", [{"column": "precip", "by": 0.2, "prediction": "not higher"}])


def known_afterwards(yard: Yard) -> None:
    """What passengers got back is a feature: it is known once the flight was late."""
    end = 'return rows.drop(columns=["source", "day"]).reset_index(drop=True)'
    yard.edit("src/flights/data.py", end, f'rows["refund"] = 100 * rows[LABEL].fillna(0)\n    {end}')
    yard.edit("src/flights/schema.py", "    late: Series", "    refund: Series[float] = pa.Field(ge=0)\n    late: Series")
    yard.edit("src/flights/features.py", '"visib")', '"visib", "refund")')


def ruined_carrier(yard: Yard) -> None:
    """The labels of EV are turned round in training; with more trees and this margin the whole is good enough."""
    yard.edit("src/flights/train.py", "rows[LABEL].to_numpy()", 'rows[LABEL].where(rows["carrier"] != "EV", 1 - rows[LABEL]).to_numpy()')
    yard.put("params.yaml", "train.iterations", 80)
    yard.put(POLICY, "evaluate.margin", 0.06)


def large_file(yard: Yard) -> None:
    yard.put(POLICY, "evaluate.readiness", {"size_mb": 0.01})


def train(start: str, date: datetime, change: Callable[[Yard], None]) -> Story:
    """A change, and the training after it."""

    def tell(scenes: Scenes) -> Scene:
        scene = scenes.begin(start, change)
        change(scene.yard)
        scene.yard.commit("A change")
        scene.happen("train", "schedule", "train", date)
        return scene

    return tell


@dataclass(frozen=True)
class Blocked:
    """What a family blocks: a run of a story, by a check and in words that begin so."""

    family: Family
    story: Story
    check: str
    words: str
    run: str = "train"
    sign: str = "✗ **failed**"


BLOCKED = [
    Blocked("criteria", train("proposed", APRIL, missed_criterion), "roc_auc", "The challenger's roc_auc is 0.7"),
    Blocked("champion", train("proposed", APRIL, shuffled_labels), "baseline", "Against a model that always says the same roc_auc"),
    Blocked(
        "champion",
        train("released", MAY, longer_holdout),
        "champion",
        "The champion was trained on rows up to 2013-03-11, and would know the hold-out from 2013-03-02.",
        sign="? **unknown**",
    ),
    Blocked("robustness", train("proposed", APRIL, wrong_expectation), "precip +0.2: not higher", "0.2 more of precip raises"),
    Blocked("leakage", train("proposed", APRIL, known_afterwards), "too good", "roc_auc is 1.0000, too good to be true"),
    Blocked("segments", moderate, "carrier = EV", "Where carrier = EV, roc_auc is worse than the champion's by 0.3", run="monitor"),
    Blocked("readiness", train("proposed", APRIL, large_file), "size", "Size: 0.02"),
    Blocked("fairness", high, "origin: ratio of selection rates", "By origin: LGA is selected 0.", run="monitor"),
    Blocked("checklist", high, "answers", "governance/checklist.yaml leaves unanswered: purpose, business-success", run="unanswered"),
]


@pytest.fixture(scope="module")
def told(
    request: pytest.FixtureRequest, fresh: Scene, proposed: Scene, released: Scene, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[Story], Scene]:
    """The stories that the selected tests ask for, two at a time; beside other workers of xdist each is told when it is asked for."""
    scenes = Scenes(fresh, proposed, released, tmp_path_factory.mktemp("gate"))
    alone = os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1") == "1"
    calls = [item.callspec for item in request.session.items if alone and item.path == request.path and hasattr(item, "callspec")]
    with ThreadPoolExecutor(max_workers=2) as pool:
        runs = {story: pool.submit(story, scenes) for story in dict.fromkeys(call.params["scene"] for call in calls)}
    later = functools.cache(lambda story: story(scenes))
    return lambda story: runs[story].result() if story in runs else later(story)


@pytest.fixture
def scene(request: pytest.FixtureRequest, told: Callable[[Story], Scene]) -> Scene:
    """The end of the story that the test asks for."""
    return told(request.param)


def of(*stories: Story) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("scene", stories, indirect=True, ids=lambda story: story.__name__)


@of(high)
def test_at_high_risk_two_approve_who_did_not_write_the_code(scene: Scene) -> None:
    """With an answered checklist it is proposed; by one and the code's author it is refused, by one more it is live."""
    assert_proposed(scene, "answered", "high")
    asked = "Risk level high asks for 2 people who did not write the training code"
    assert_refused(scene, f"{asked}; it is approved by Ben Ray; Ada Approver wrote the training code. Let them push a commit")
    assert_live(scene, "Ben Ray", "Cleo Sand")


@of(critical)
def test_at_critical_risk_one_of_two_has_the_role(scene: Scene) -> None:
    """Fairness and checklist pass, it is proposed; by two without the role it is refused, by one more who has it, it is live."""
    assert_proposed(scene, "train", "critical")
    checks = evaluation(scene, "train").checks
    assert {check.status for check in checks if check.family in ("fairness", "checklist")} == {"passed"}
    asked = "Risk level critical asks for the role 'risk' (risk.roles: rita@example.org)"
    assert_refused(scene, f"{asked}; it is approved by Ben Ray, Cleo Sand. Let them push a commit")
    assert_live(scene, "Ben Ray", "Cleo Sand", "Rita Hall")


@of(low)
def test_at_low_risk_nobody_is_asked(scene: Scene) -> None:
    """The run that trains the first model merges it and makes it live; a failed check of a higher level is told."""
    run, yard = scene.runs["train"], scene.yard
    before, after = scene.refs["train"]

    assert run.steps["train/train.evaluate.verdict"] == "promote"
    assert "- Not demanded at this risk level, but failed: readiness size." in run.summary
    assert run.steps["train/train.propose.merged"] == "true"
    assert run.verdict == run.steps["train/promote/promote.promote.verdict"] == "live"
    assert set(run.jobs.values()) == {"success"}
    assert set(before) == {"main"}
    assert after["main"] == after["modelyard/release"] == run.steps["train/train.propose.commit"]
    assert git.head(yard.origin, "main^") == before["main"]
    assert (yard.record().risk, yard.record().approved_by, yard.record().evaluation.champion) == ("low", "policy: risk low", None)
    assert yard.alias() == "1"


def test_at_moderate_risk_one_approves(proposed: Scene, released: Scene) -> None:
    """The first release waits for a person, who may have written the code; merged by her it is live."""
    assert_proposed(proposed, "train", "moderate")
    assert_live(released, "Ada Approver", run="promote")


@of(merged_by_a_job)
def test_at_moderate_risk_a_job_is_no_person(scene: Scene) -> None:
    """What a job merged nobody has approved: it is refused."""
    assert_refused(scene, "Risk level moderate asks for 1 person; it is approved by nobody. Let them push a commit")
    assert scene.yard.alias() is None


@of(moderate, high)
def test_monitor_may_start_a_training(scene: Scene) -> None:
    """Below critical the same run trains (at low risk: test_monitor)."""
    run = scene.runs["monitor"]

    assert run.steps["monitor/monitor.monitor.verdict"] == "retrain"
    assert run.steps["monitor/monitor.monitor.start"] == "true"
    assert run.jobs["monitor/train/train"] == "success"


@of(critical)
def test_at_critical_risk_a_person_starts_the_training(scene: Scene) -> None:
    """The level lets a release live for 180 days, whatever monitor allows; then nothing starts by itself."""
    run = scene.runs["monitor"]
    before, after = scene.refs["monitor"]

    assert (run.verdict, run.outputs["start"]) == ("retrain", "false")
    assert "The live model is 183 days old; 180 are allowed), and a person must start it." in run.outputs["reason"]
    assert {result for job, result in run.jobs.items() if job.startswith("monitor/train")} == {"skipped"}
    assert without_state(before) == without_state(after)


@pytest.mark.parametrize(
    ("scene", "blocked"),
    [(blocked.story, blocked) for blocked in BLOCKED],
    indirect=["scene"],
    ids=[f"{blocked.family}-{blocked.check}" for blocked in BLOCKED],
)
def test_each_family_blocks(scene: Scene, blocked: Blocked) -> None:
    """Nothing else is wrong: the summary names the check, nothing is packaged, proposed or registered, the reports are kept."""
    run, found = scene.runs[blocked.run], evaluation(scene, blocked.run)
    before, after = scene.refs[blocked.run]

    assert run.verdict == found.verdict == "block"
    assert {check.family for check in found.checks if check.status in ("failed", "unknown")} == {blocked.family}
    assert blocked.family == "champion" or {check.status for check in found.checks if check.family == "champion"} == {"passed"}
    assert found.reasons[0].startswith(blocked.words)
    assert f"| {blocked.family} | {blocked.check} | {blocked.sign} | {blocked.words}" in run.summary
    assert " only: the verdict is block**" in run.summary  # no version
    assert not any(f".{step}." in name for name in run.steps for step in ("package", "propose"))
    assert {result for job, result in run.jobs.items() if "promote" in job} == {"skipped"}
    assert "it would open the pull request" not in run.log
    assert without_state(before) == without_state(after)
    kept = {path.name for path in (scene.kept[blocked.run] / "reports-train").iterdir()}
    assert kept >= {"validate.json", "train.json", "evaluate.json", "evaluate.html", "readiness.json", "register.json"}


def test_no_family_is_left_out() -> None:
    """Each is blocked by above."""
    assert {blocked.family for blocked in BLOCKED} == set(FAMILIES)


def evaluation(scene: Scene, run: str) -> Evaluation:
    return jsonfile.read(scene.kept[run] / "reports-train" / "evaluate.json", Evaluation, "")


def without_state(refs: dict[str, str]) -> dict[str, str]:
    return refs | {"modelyard-state": ""}


def assert_proposed(scene: Scene, name: str, level: str) -> None:
    """It waits on the release branch; main stays."""
    run, yard = scene.runs[name], scene.yard
    before, after = scene.refs[name]
    assert (run.steps["train/train.evaluate.verdict"], run.steps["train/train.propose.merged"]) == ("promote", "false")
    assert run.jobs["train/promote"] == "skipped"
    assert "it would open the pull request 'Release flights 1' from modelyard/release into main." in run.log
    assert (after["main"], after["modelyard/release"]) == (before["main"], run.steps["train/train.propose.commit"])
    assert after["modelyard/release"] != before.get("modelyard/release")
    record = yard.record(after["modelyard/release"])
    assert (record.risk, record.approved_by) == (level, None)


def assert_refused(scene: Scene, reason: str) -> None:
    """Promote fails for want of approvals, and moves nothing."""
    run = scene.runs["one lacks"]
    before, after = scene.refs["one lacks"]
    assert (run.verdict, run.outputs["check"]) == ("refused", "approvals")
    assert reason in run.summary
    assert before == after


def assert_live(scene: Scene, *people: str, run: str = "enough") -> None:
    """Promote makes it live, and the registry notes who approved."""
    promoted = scene.runs[run]
    (version,) = scene.yard.versions()
    assert (promoted.verdict, promoted.outputs["version"], scene.yard.alias()) == ("live", "1", "1")
    assert [str(approval.person) for approval in noted(version.tags[APPROVED])] == [*people]
    assert f"approved by {version.tags[APPROVED]}" in promoted.summary
