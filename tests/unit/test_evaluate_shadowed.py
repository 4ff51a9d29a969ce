"""Champion and shadow on the same requests: agreement, latency, early labels."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats
from unit import mini_project
from unit.answers import array

from modelyard import dataset, predictions, served
from modelyard.errors import DataError
from modelyard.evaluate import shadowed
from modelyard.evaluate.pairs import Answered, Pairs
from modelyard.evaluate.shadowed import Shadowed
from modelyard.policy import Evaluate
from modelyard.project import Project, load_object
from modelyard.release import sha256
from modelyard.serve import contract
from modelyard.serve.contract import Contract, Log
from modelyard.serve.log import Answer, PredictionLog
from modelyard.serve.shadow import Shadow

AUC = Evaluate(metric="roc_auc")
MARCH = datetime(2013, 3, 4), datetime(2013, 4, 1)


def pairs(days: int = 20, each: int = 50, *, better: float = 0.0, **change: Any) -> Pairs:
    """Rows of some days; ``better`` moves the shadow towards the label."""
    draw = np.random.default_rng(0)
    n = days * each
    day = np.repeat(np.arange(days) + 15_000, each)
    truth = draw.normal(size=n) + np.repeat(draw.normal(0, 0.3, days), each)
    label = (draw.uniform(size=n) < 1 / (1 + np.exp(-2 * truth))).astype(float)
    old, new = (1 / (1 + np.exp(-(truth + draw.normal(0, noise, n)))) for noise in (1.0, 1.0 - better))
    usual: dict[str, Any] = {
        "day": day,
        "champion": old,
        "shadow": new,
        "label": label,
        "champion_seconds": draw.uniform(0.001, 0.002, days),
        "shadow_seconds": draw.uniform(0.003, 0.004, days),
        "champion_is": Answered("7", "7" * 64),
        "shadow_is": Answered("8", "8" * 64),
    }
    return Pairs(**usual | change)


def by_hand(statistic: Callable[[np.ndarray], float], day: np.ndarray) -> tuple[float, float, float]:
    """A value and its interval, each day left out in turn."""
    value = statistic(np.ones(len(day), dtype=bool))
    without = np.array([statistic(day != each) for each in np.unique(day)])
    count = len(without)
    reach = stats.t.ppf(0.975, count - 1) * np.sqrt((count - 1) / count * ((without - without.mean()) ** 2).sum())
    return value, value - reach, value + reach


def test_agreement_is_a_jackknife_over_days() -> None:
    """Each number and its interval are those that leaving each day out by hand gives."""
    given = pairs()
    found = shadowed.compare("binary", AUC, given)
    gap = given.shadow - given.champion
    crossed = (given.shadow >= 0.5) != (given.champion >= 0.5)

    asked = {
        "correlation": lambda rows: np.corrcoef(given.champion[rows], given.shadow[rows])[0, 1],
        "difference": lambda rows: gap[rows].mean(),
        "absolute_difference": lambda rows: np.abs(gap[rows]).mean(),
        "decisions": lambda rows: crossed[rows].mean(),
    }
    for name, statistic in asked.items():
        span = getattr(found, name)
        assert (span.value, span.lower, span.upper) == pytest.approx(by_hand(statistic, given.day)), name
    assert (found.rows, found.answers, found.days, found.labelled) == (1000, 20, 20, 1000)
    assert found.period == (datetime(2011, 1, 26), datetime(2011, 2, 15))


def test_a_shadow_that_says_the_same_agrees_wholly() -> None:
    """Correlation 1, nothing differs, and labels cannot tell the two apart."""
    one = pairs()
    found = shadowed.compare("binary", AUC, dataclasses.replace(one, shadow=one.champion, shadow_is=one.champion_is))

    assert found.correlation
    assert found.decisions
    assert found.correlation.value == pytest.approx(1)
    assert (found.absolute_difference.value, found.absolute_difference.upper, found.decisions.value) == (0, 0, 0)
    assert found.verdict == "undecided"
    assert "the champion itself" in found.check.message


def test_latency_is_of_the_answers_that_both_gave() -> None:
    """Percentiles in milliseconds; not known where nobody measured."""
    seconds = np.array([0.001] * 98 + [np.nan, 0.1])
    found = shadowed.compare("binary", AUC, pairs(champion_seconds=seconds, shadow_seconds=np.full(100, np.nan)))

    assert (found.champion.p50_ms, found.champion.p95_ms) == (1.0, 1.0)
    assert found.champion.p99_ms == pytest.approx(np.percentile([1.0] * 98 + [100.0], 99), abs=1e-3)
    assert found.shadow.p50_ms is None
    assert "| predict, median (ms) | 1.00 | not known |" in shadowed.summary(found)


@pytest.mark.parametrize(("better", "verdict"), [(0.8, "passes"), (0.0, "undecided"), (-1.5, "fails")])
def test_labels_say_what_the_gate_would_say(better: float, verdict: str) -> None:
    """By the policy's own rule; only a shadow that passes is positive."""
    found = shadowed.compare("binary", AUC, pairs(better=better))
    outcome = shadowed.outcome(found)

    assert found.verdict == verdict
    assert (outcome.verdict, outcome.positive, bool(outcome.problems)) == (verdict, verdict == "passes", verdict == "fails")
    assert found.comparison
    assert outcome.outputs["difference"] == f"{found.comparison.difference:.4f}"
    assert found.comparison.difference == pytest.approx(found.shadow.metric - found.champion.metric)  # type: ignore[operator]


def test_a_margin_lets_a_shadow_pass_that_is_as_good() -> None:
    """And one that is worse by more than it still fails."""
    rule = Evaluate(metric="roc_auc", rule="non-inferior", margin=0.05)

    assert shadowed.compare("binary", rule, pairs(days=60)).verdict == "passes"
    assert shadowed.compare("binary", rule, pairs(days=60, better=-2.5)).verdict == "fails"


def test_without_labels_agreement_is_told_and_nothing_is_decided() -> None:
    """Some labels are of some rows; none are of none."""
    none = shadowed.compare("binary", AUC, pairs(label=np.full(1000, np.nan)))
    some = shadowed.compare("binary", AUC, pairs(label=np.where(np.arange(1000) < 300, pairs().label, np.nan)))

    assert (none.verdict, none.labelled, none.champion.metric) == ("undecided", 0, None)
    assert none.correlation
    assert "no row has a label" in none.check.message
    assert (some.verdict, some.labelled) == ("undecided", 300)
    assert "6 days are too few" in some.check.message


def test_few_days_have_no_interval() -> None:
    """The values stand alone."""
    found = shadowed.compare("binary", AUC, pairs(days=6))

    assert found.absolute_difference.lower is None
    assert "| correlation | 0." in shadowed.summary(found)
    assert "too few days" in shadowed.summary(found)


def test_a_model_that_always_says_the_same_has_no_correlation() -> None:
    """Nor a row of it in the summary."""
    found = shadowed.compare("binary", AUC, pairs(shadow=np.full(1000, 0.3)))

    assert found.correlation is None
    assert "correlation" not in shadowed.summary(found)


def test_of_numbers_nothing_is_decided() -> None:
    """A regression has no threshold."""
    given = pairs()
    found = shadowed.compare("regression", Evaluate(metric="mae"), given)

    assert (found.decisions, found.threshold) == (None, None)
    assert "decisions" not in shadowed.summary(found)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return mini_project.make(tmp_path, monitor={"row_id": ["serial"]})


def serve(
    project: Project, noise: float, share: float = 1.0, *, features: tuple[str, ...] = ("time", "x", "group"), version: str = "8"
) -> str:
    """Let a champion and its shadow answer March as a service does; the shadow's hash. The champion is worse by its own noise."""
    champion = mini_project.released(project, noise=3.0)
    folder = project.root / f"shadow-{version}"
    (folder / "models").mkdir(parents=True)
    digest = sha256(mini_project.model(folder, noise=noise))
    column = contract.Column(name="x", kind="number")
    promised = Contract(name="mini", version=version, task=project.policy.task, sha256=digest, columns=[column])
    (folder / "models" / contract.FILE).write_text(promised.model_dump_json())
    log = PredictionLog(project.root / "log", Log(), 0)
    shadow = Shadow(folder / "models", load_object(project, "model", "load"), share, log)
    frame = dataset.load(project, *MARCH).reset_index(drop=True)
    scores = predictions.of_champion(champion, frame)
    for first in range(0, len(frame), 40):
        rows = frame.iloc[first : first + 40]
        columns: Mapping[str, np.ndarray] = {name: array(rows[name].to_numpy()) for name in features}
        given = Answer(
            time=datetime(2013, 3, 1, tzinfo=UTC) + timedelta(days=first // 40, hours=int(version)),
            request_id=f"{version}-{first}",
            ids=rows["serial"].astype(str).tolist(),
            columns=columns,
            predictions=scores[first : first + 40],
            role="champion",
            version="7",
            sha256=champion.release.model.sha256,
            seconds=0.001,
        )
        log.put(given)
        shadow.offer(given)
    shadow.close()
    log.close()
    assert (shadow.skipped, shadow.failed, log.lost) == (0, 0, 0)
    return digest


def report(project: Project) -> Shadowed:
    return Shadowed.model_validate_json((project.root / "reports" / shadowed.REPORT).read_bytes())


def test_a_shadow_is_judged_from_the_log_of_the_service(project: Project) -> None:
    """Rows are paired by request and place, labels found by id; the same log gives the same report, as its compaction does."""
    digest = serve(project, noise=0.0)

    outcome = shadowed.run(project, project.root / "log")

    assert (outcome.verdict, outcome.exit_code) == ("passes", 0)
    found = report(project)
    assert (found.rows, found.answers, found.days, found.labelled) == (1120, 28, 28, 1120)
    assert (found.shadow.version, found.shadow.sha256, found.champion.version) == ("8", digest, "7")
    assert (found.champion.p50_ms, found.shadow.metric) == (1.0, pytest.approx(0.88, abs=0.05))
    assert found.period == MARCH
    assert outcome.summary.startswith("**evaluate --shadow: passes**: version 8 beside version 7 on 2013-03-04 to 2013-04-01\n")
    assert set(found.left_out.values()) == {0}
    first = (project.root / "reports" / shadowed.REPORT).read_bytes()
    served.compact(project.root / "log", project.root / "parquet")
    shadowed.run(project, project.root / "parquet")
    assert (project.root / "reports" / shadowed.REPORT).read_bytes() == first


def test_a_shadow_of_a_share_is_judged_on_that_share(project: Project) -> None:
    """And what else answered is told: an earlier shadow, and requests that it did not get."""
    serve(project, noise=5.0, version="6")
    digest = serve(project, noise=0.0, share=0.6)

    shadowed.run(project, project.root / "log")

    found = report(project)
    assert found.shadow.sha256 == digest
    assert 400 < found.rows < 1120
    assert found.left_out["by other shadows"] == 1120


def test_labels_of_answers_without_an_event_time_are_looked_for_later(project: Project) -> None:
    """What was predicted happened after the answer."""
    serve(project, noise=0.0, features=("x",))

    shadowed.run(project, project.root / "log")

    assert report(project).labelled == 1120
    assert report(project).period == (datetime(2013, 3, 1), datetime(2013, 3, 29))


def test_requests_that_share_an_id_are_left_out(project: Project) -> None:
    """Nobody knows which answer belongs to which."""
    serve(project, noise=0.0)
    (path,) = (project.root / "log").glob("*.jsonl")
    twice = next(line for line in path.read_text().splitlines() if '"champion"' in line)
    (project.root / "log/more.jsonl").write_text(json.dumps(json.loads(twice)) + "\n")

    shadowed.run(project, project.root / "log")

    assert report(project).rows == 1080
    assert report(project).left_out["of requests whose id came twice"] == 80


def test_without_row_ids_agreement_is_all_there_is(tmp_path: Path) -> None:
    """load() is not even asked."""
    project = mini_project.make(tmp_path)
    serve(project, noise=0.0)
    mini_project.fault(project.root, raises="must not be asked")

    outcome = shadowed.run(project, project.root / "log")

    assert (outcome.verdict, outcome.exit_code, report(project).labelled) == ("undecided", 10, 0)


def test_a_log_without_a_shadow_is_told(project: Project) -> None:
    """With what to set; also where its champion's answers are missing."""
    serve(project, noise=0.0, share=0.0)
    with pytest.raises(DataError, match="holds no answer of a shadow"):
        shadowed.run(project, project.root / "log")

    serve(project, noise=0.0, version="9")
    for path in (project.root / "log").glob("*.jsonl"):
        path.write_text("".join(line for line in path.read_text().splitlines(keepends=True) if '"shadow"' in line))
    with pytest.raises(DataError, match="no request that shadow and champion both answered"):
        shadowed.run(project, project.root / "log")
