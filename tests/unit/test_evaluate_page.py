"""The page of an evaluation: whole in itself, small, accessible, safe from what it shows, and in the order in which it is read."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from unit.html_page import Page, contrast

from modelyard import policy
from modelyard.evaluate import bare, dependence, importance, page
from modelyard.evaluate.check import Check
from modelyard.evaluate.curves import Bin
from modelyard.evaluate.report import Evaluation, Range
from modelyard.page import plain, template
from modelyard.risk import Risk

LIMIT = 300_000
DAYS, EACH = 24, 60
HOSTILE = "<script>alert('1')</script>\" \u202e {{ 7 * 7 }} &amp; | \x00"
ORDER = ("Checks", "Improvement", "Metrics", "Curves", "Segments", "Fairness", "Importance", "How it was judged")


def _frame(task: str) -> pd.DataFrame:
    """Rows whose label hangs on ``x`` and less on ``kind``; ``shop`` and ``group`` are segments and groups of people."""
    draw = np.random.default_rng(3)
    n = DAYS * EACH
    frame = pd.DataFrame({"x": draw.normal(size=n), "kind": draw.choice(["a", "b", "c"], n), "noise": draw.normal(size=n)})
    logit = _logit(frame) + 0.4 * draw.normal(size=DAYS)[np.arange(n) // EACH]
    label = logit + draw.normal(size=n) if task == "regression" else (draw.uniform(size=n) < 1 / (1 + np.exp(-logit))).astype(float)
    shop = np.array(["north", "south", HOSTILE])[np.arange(n) % 3]
    shop[:9] = "kiosk"
    time = pd.Timestamp("2024-03-01") + pd.to_timedelta(np.arange(n) // EACH, "D")
    return frame.assign(id=np.arange(n), label=label, time=time, shop=shop, group=np.where(np.arange(n) % 2 == 0, "f", "m"))


def _logit(frame: pd.DataFrame) -> np.ndarray:
    return 1.5 * frame["x"].to_numpy() + (frame["kind"] == "a").to_numpy() - 0.5


def _good(task: str, frame: pd.DataFrame) -> np.ndarray:
    logit = _logit(frame)
    return logit if task == "regression" else 1 / (1 + np.exp(-logit))


def _bad(task: str, frame: pd.DataFrame) -> np.ndarray:
    logit = 0.05 * frame["x"].to_numpy() + (frame["kind"] == "a").to_numpy() + 0.5 * frame["noise"].to_numpy() - 0.5
    return logit if task == "regression" else 1 / (1 + np.exp(-logit))


def _spoiled(task: str, frame: pd.DataFrame) -> np.ndarray:
    """Good, but not in one shop."""
    return np.where(frame["shop"] == "south", _bad(task, frame), _good(task, frame))


def _judge(
    folder: Path, task: Any, challenger: Any, champion: Any, *, independent: bool = False, tried: int = 1, **settings: Any
) -> Evaluation:
    frame = _frame(task)
    frame[["id", "label", "time", "shop", "group"]].to_parquet(folder / "labels.parquet")
    for name, model in (("new", challenger), ("old", champion)):
        if model:
            pd.DataFrame({"id": frame["id"], "prediction": model(task, frame)}).to_parquet(folder / f"{name}.parquet")
    usual = {"metric": "roc_auc" if task == "binary" else "mae"}
    given = policy.parse({**usual, **settings}, policy.Evaluate, "the settings")
    old = folder / "old.parquet" if champion else None
    files = bare.Files(task, folder / "new.parquet", old, folder / "labels.parquet", independent=independent, challengers=tried)
    found = bare.judge(files, given)

    columns, label, day = ["x", "kind", "noise"], frame["label"].to_numpy(), np.arange(len(frame)) // EACH
    models = [lambda rows, model=model: model(task, rows) for model in (challenger, champion) if model and model is not _spoiled]
    if not models:
        return found
    lives_on = importance.compare(task, given.metric, frame[columns], label, day, columns, *models)
    drawn = dependence.partial(frame[columns], [each.column for each in lives_on], *models)
    return found.model_copy(update={"importance": lives_on, "dependence": drawn})


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Evaluation]:
    """Return one evaluation of each kind."""
    folder = tmp_path_factory.mktemp("files")
    more = {
        "segments": {"columns": ["shop", "group"], "min_rows": 100},
        "fairness": {"attributes": ["group", "shop"], "min_rows": 100, "min_ratio": 0.1, "max_gap": 0.9},
    }
    return {
        "promote": _judge(folder, "binary", _good, _bad, criteria={"roc_auc": {"min": 0.6, "of": "bound"}, "brier": {"max": 0.3}}, **more),
        "keep": _judge(folder, "binary", _bad, _good, rule="non-inferior", margin=0.01, tried=3),
        "block": _judge(folder, "binary", _spoiled, _bad, **more, criteria={"roc_auc": {"min": 0.99}}),
        "segment": _judge(folder, "regression", _spoiled, _good, segments={"columns": ["shop"], "min_rows": 100}),
        "first": _judge(folder, "binary", _good, None, **more),
        "regression": _judge(folder, "regression", _good, _bad, **more),
        "independent": _judge(folder, "binary", _good, _bad, independent=True),
    }


KINDS = ("promote", "keep", "block", "segment", "first", "regression", "independent")


def render(found: Evaluation, folder: Path) -> str:
    path = folder / "reports" / "evaluate.html"
    page.write(found, path)
    return path.read_text(encoding="utf-8")


def read(source: str) -> str:
    """The text as it is read, cells apart."""
    return " ".join(" ".join(Page(source).text).split())


@pytest.mark.parametrize("kind", KINDS)
def test_the_page_is_whole_in_itself(kind: str, found: dict[str, Evaluation], tmp_path: Path) -> None:
    """It is small and well-formed, runs no script and loads nothing, and its links lead to places on it."""
    source = render(found[kind], tmp_path)

    seen = Page(source)
    assert seen.open == []
    assert len(source.encode()) < LIMIT / 3
    assert not {"script", "link", "img", "iframe", "object", "embed", "form"} & {tag for tag, _ in seen.elements}
    assert not [name for _, attributes in seen.elements for name in attributes if name == "src" or name.startswith("on")]
    places = {attributes["id"] for _, attributes in seen.elements if "id" in attributes}
    assert {str(link["href"]).removeprefix("#") for link in seen.of("a")} <= places
    assert "url(" not in source
    assert "@import" not in source
    content = next(meta["content"] for meta in seen.of("meta") if meta.get("http-equiv"))
    assert content == "default-src 'none'; style-src 'unsafe-inline'"


@pytest.mark.parametrize("kind", KINDS)
def test_charts_are_told_to_who_cannot_see_them(kind: str, found: dict[str, Evaluation], tmp_path: Path) -> None:
    """Each chart is well-formed and has a label, or is hidden where the cells beside it say the same; no figure in it is none."""
    drawn = re.findall(r"<svg.*?</svg>", render(found[kind], tmp_path), flags=re.DOTALL)

    assert drawn
    for one in drawn:
        chart = ET.fromstring(one)  # raises where it is no XML
        assert chart.get("aria-hidden") == "true" or (chart.get("role") == "img" and chart.get("aria-label"))
        assert not re.search(r"nan|inf", " ".join(str(value) for element in chart.iter() for value in (element.get("d"), element.get("x"))))


def test_the_same_evaluation_is_the_same_bytes(found: dict[str, Evaluation], tmp_path: Path) -> None:
    """Also after its way through JSON; and nothing else is left in the folder."""
    first = render(found["block"], tmp_path / "a")

    assert render(Evaluation.model_validate_json(found["block"].model_dump_json()), tmp_path / "b") == first
    assert [path.name for path in (tmp_path / "a" / "reports").iterdir()] == ["evaluate.html"]


@pytest.mark.parametrize(("kind", "verdict", "mark"), [("promote", "promote", "✓"), ("keep", "keep", "="), ("block", "block", "✗")])
def test_the_verdict_comes_first_in_words_and_with_a_mark(
    kind: str, verdict: str, mark: str, found: dict[str, Evaluation], tmp_path: Path
) -> None:
    """Then its reasons, the figures, and the sections in the order in which they are read."""
    source = render(found[kind], tmp_path)
    said = read(source)

    assert found[kind].verdict == verdict
    start = said.index(f"{mark} {verdict.capitalize()}")
    reasons = [said.index(" ".join(plain.visible(reason).split())) for reason in found[kind].reasons]
    assert start < reasons[0]
    assert reasons == sorted(reasons)
    headings = re.findall(r"<h2 id=\"\w+\">([^<]+)</h2>", source)
    assert tuple(headings) == ORDER
    assert max(reasons) < said.index("result check value, interval asked")


def test_tiles_tell_the_metric_the_improvement_the_checks_and_the_rows(found: dict[str, Evaluation], tmp_path: Path) -> None:
    """With the rival, the interval against what is asked, and how many checks did not pass."""
    by = found["keep"].comparison
    assert by
    values = [model.metrics["roc_auc"] for model in (found["keep"].challenger, found["keep"].champion) if model]

    said = read(render(found["keep"], tmp_path))

    assert f"roc_auc {values[0]:.4f} champion {values[1]:.4f}" in said
    interval = f"one-sided 98.33 % bounds {by.lower:+.4f} to {by.upper:+.4f}; above -0.01 is asked"
    assert f"~ improvement {by.difference:+.4f} {interval}" in said
    assert "~ checks 0 of 1 passed 1 inconclusive" in said
    assert f"rows judged {DAYS * EACH:,} {DAYS} days" in said


def test_checks_that_did_not_pass_come_first(found: dict[str, Evaluation], tmp_path: Path) -> None:
    """By family, and within one; each with value, interval, limit, message, and once why it matters."""
    source = render(found["block"], tmp_path)
    table = re.search(r'<table class="checks">.*?</table>', source, flags=re.DOTALL)
    assert table

    families = re.findall(r'scope="rowgroup">(\w+) <span class="dim">([^<]+)', table[0])
    results = re.findall(r'<tr class="(failed|unknown|inconclusive|passed|noted)">', table[0])

    assert families[0] == ("Criteria", "1 failed")
    assert results[0] == "failed"
    assert len(results) == len(found["block"].checks)
    whole = ["failed" in counts or "unknown" in counts or "inconclusive" in counts for _, counts in families]
    assert whole == sorted(whole, reverse=True)
    criterion = next(check for check in found["block"].checks if check.family == "criteria")
    assert f"{criterion.value:.4f} ({criterion.lower:.4f} to {criterion.upper:.4f})" in table[0]
    assert "at least 0.99" in table[0]
    assert table[0].count(f"Why: {criterion.why}.") == 1


def test_what_the_level_does_not_demand_is_marked(found: dict[str, Evaluation], tmp_path: Path) -> None:
    """On the family, in its section, in the tile and below; it comes after what blocks, and before what passed."""
    failed = Check(family="fairness", name="shop: ratio", status="failed", message="The ratio of shop is 0.61.")
    more = {"risk": "moderate", "demand": Risk().demands["moderate"], "checks": [failed, *found["block"].checks]}
    source = render(found["block"].model_copy(update=more), tmp_path)
    said = read(source)

    families = re.findall(r'<tbody( class="told")?>\n<tr class="group">.*?scope="rowgroup">(\w+)', source)
    assert [bool(mark) for mark, name in families] == [name == "Fairness" for _, name in families]
    assert [name for _, name in families] == ["Criteria", "Fairness", "Champion", "Segments"]
    assert re.search(r" Fairness 1 failed, [^✗]* not demanded at moderate ✗ failed shop: ratio", said)
    assert "Not demanded at moderate: what fails here is told, and does not block. By group" in said
    assert "✗ checks 8 of 10 passed 1 failed; not demanded: 1 failed • rows judged" in said
    assert "not demanded at moderate fairness, checklist a check that could not be decided is told" in said


def test_what_could_not_be_decided_blocks_at_high_risk(found: dict[str, Evaluation], tmp_path: Path) -> None:
    """And the page says so beside the result; the comparison only keeps."""
    unsure = Check(family="segments", name="all", status="inconclusive", message="Too few days.")
    more = {"risk": "high", "demand": Risk().demands["high"], "checks": [unsure, *found["keep"].checks]}
    source = render(found["keep"].model_copy(update=more), tmp_path)

    results = re.findall(r'<td class="status"><span class="mark">~</span> ([^<]+)</td><td class="any of">([^<]+)', source)
    assert results == [("inconclusive", "champion"), ("inconclusive, blocks", "all")]
    assert "not demanded" not in source


def test_charts_hold_both_models(found: dict[str, Evaluation], tmp_path: Path) -> None:
    """Curves of a binary task, each a line of its own kind for each model, with their legend."""
    source = render(found["promote"], tmp_path)
    labels = " | ".join(str(chart.get("aria-label")) for chart in Page(source).of("svg"))

    for name in ("ROC curve", "Precision-recall curve", "Calibration", "Partial dependence on x"):
        assert re.search(rf"{name}\. challenger: [^|]+; champion: ", labels), name
    assert "Improvement in roc_auc: against champion +" in labels
    roc = next(svg for svg in re.findall(r"<svg.*?</svg>", source, flags=re.DOTALL) if "ROC curve" in svg)
    assert (roc.count('class="is"'), roc.count('class="was"')) == (1, 1)
    assert "stroke-dasharray" in source.split(".was {")[1].split("}")[0]


def test_a_regression_shows_residuals(found: dict[str, Evaluation], tmp_path: Path) -> None:
    """And calibration in its own unit, not what only a binary task has; of people the mean errors."""
    source = render(found["regression"], tmp_path)

    labels = " | ".join(str(chart.get("aria-label")) for chart in Page(source).of("svg"))
    assert "Distribution of residuals. challenger: half of the rows lie between -" in labels
    assert "Calibration" in labels
    assert "ROC" not in labels
    assert "mean prediction mean error" in read(source)
    assert "threshold" not in read(source)


def test_segments_that_failed_are_named_first(found: dict[str, Evaluation], tmp_path: Path) -> None:
    """With improvement, interval and p; what has too little support is listed apart, the weakest are marked as not tested."""
    source = render(found["segment"], tmp_path)
    said = read(source)

    segments = found["segment"].segments
    assert segments
    assert [one.name for one in segments.judged if one.failed] == ["shop = south"]
    rows = re.findall(r"(✗ failed</span> )?(shop|group) = [^<]+</td><td><svg", source)
    assert [bool(mark) for mark, _ in rows] == [True] + [False] * (len(segments.judged) - 1)
    south = next(one for one in segments.judged if one.failed)
    assert f"✗ failed shop = south {south.improvement:+.4f} ({south.lower:+.4f} to {south.upper:+.4f})" in said
    assert "shop = kiosk: 9 rows, 1 days; fewer than 100 rows" in said
    assert "found by a tree, not tested" in said or not segments.weakest


def test_fairness_tells_groups_or_that_nobody_is_named(found: dict[str, Evaluation], tmp_path: Path) -> None:
    """Rates by group with the checks of the attribute; else the sentence that no attribute is named."""
    told = read(render(found["promote"], tmp_path / "a"))
    fairness = found["promote"].fairness
    assert fairness
    group = fairness.attributes[0].groups[0]

    assert f"By group ✓ passed {fairness.checks[0].message}" in told
    assert f"{group.value} {group.rows:,}, {group.days} {group.selection_rate:.4f} {group.true_positive_rate:.4f}" in told
    assert "not judged: fewer than 100 rows" in told
    assert "The policy names no protected attribute" in read(render(found["keep"], tmp_path / "b"))


def test_importance_names_the_rank_before(found: dict[str, Evaluation], tmp_path: Path) -> None:
    """Columns in the challenger's order, what changed for certain marked."""
    said = read(render(found["promote"], tmp_path))

    assert re.search(r"1 \(↑ was 2\) x 0\.\d+ \(0\.\d+ to 0\.\d+\) -?0\.\d+ \([^)]+\) ▲ \+0\.\d+", said)
    assert re.search(r"2 \(↓ was 1\) kind 0\.\d+", said)
    assert re.search(r" 3 noise 0\.000 \(0\.000 to 0\.000\) ", said)


def test_without_a_champion_nothing_is_said_of_one(found: dict[str, Evaluation], tmp_path: Path) -> None:
    """The first release: one line in each chart, no column of a rival, and the baseline in the chart of the improvement."""
    source = render(found["first"], tmp_path)
    seen = Page(source)

    assert "no champion yet" in seen.said
    assert "champion (95 %)" not in seen.said
    assert "intervals overlap" not in seen.said
    assert 'class="was"' not in source
    assert any("against baseline +" in str(chart.get("aria-label")) for chart in seen.of("svg"))


def test_what_was_assumed_is_said(found: dict[str, Evaluation], tmp_path: Path) -> None:
    """Rows said to be independent, and models that share the error."""
    assert "assumed, not checked rows of one day are no more alike than others" in read(render(found["independent"], tmp_path / "a"))
    assert "models tried on this hold-out 3; the error is shared among them" in read(render(found["keep"], tmp_path / "b"))


def test_nothing_that_is_shown_is_markup(found: dict[str, Evaluation], tmp_path: Path) -> None:
    """Hostile names stand on the page as text wherever they come from, and do not turn the direction of writing."""
    base = found["promote"]
    assert base.segments
    assert base.fairness
    assert base.champion
    hostile = base.model_copy(
        update={
            "reasons": [HOSTILE],
            "metric": base.metric,
            "champion": base.champion.model_copy(update={"version": HOSTILE}),
            "checks": [Check(family="criteria", name=HOSTILE, status="failed", message=HOSTILE, limit=HOSTILE, why=HOSTILE), *base.checks],
            "importance": [one.model_copy(update={"column": HOSTILE}) for one in base.importance],
            "dependence": [
                one.model_copy(update={"column": HOSTILE, "values": [f"{HOSTILE}{i}" for i in range(len(one.values))]})
                for one in base.dependence
            ],
            "segments": base.segments.model_copy(
                update={"few": [one.model_copy(update={"value": HOSTILE, "why": HOSTILE}) for one in base.segments.few]}
            ),
            "inputs": base.inputs.model_copy(update={"batches": [one.model_copy(update={"path": HOSTILE}) for one in base.inputs.batches]}),
        }
    )

    source = render(hostile, tmp_path)

    seen = Page(source)
    assert seen.open == []
    assert "<script>alert('1')</script>" in seen.said
    assert "{{ 7 * 7 }}" in seen.said
    assert "<script" not in source
    assert "\u202e" not in source
    assert "\x00" not in source
    assert not [name for _, attributes in seen.elements for name in attributes if name.startswith("on")]
    for drawn in re.findall(r"<svg.*?</svg>", source, flags=re.DOTALL):
        ET.fromstring(drawn)


@pytest.mark.parametrize("name", ["column", "<&'\"" * 500, "飛" * 2000])
def test_a_page_stays_small_whatever_is_on_it(name: str, found: dict[str, Evaluation], tmp_path: Path) -> None:
    """Thousands of checks, segments, groups, columns and files fit; what has no room is counted."""
    base = found["block"]
    whole = found["promote"]
    assert base.segments
    assert base.fairness
    many = range(2000)
    attribute = base.fairness.attributes[0]
    groups = [attribute.groups[0].model_copy(update={"value": f"{i}{name}"}) for i in many]
    huge = base.model_copy(
        update={
            "reasons": [f"{i} {name}" for i in many],
            "checks": [
                Check(family="segments", name=f"{i} {name}", status="failed", message=name, limit=name, why=f"{i}{name}", value=0.1)
                for i in many
            ],
            "segments": base.segments.model_copy(
                update={
                    "judged": [base.segments.judged[0].model_copy(update={"value": f"{i}{name}"}) for i in many],
                    "few": [base.segments.few[0].model_copy(update={"value": f"{i}{name}"}) for i in many],
                    "few_total": 5000,
                }
            ),
            "fairness": base.fairness.model_copy(
                update={
                    "attributes": [
                        attribute.model_copy(update={"column": f"{i} {name}", "groups": groups, "groups_total": 2000}) for i in range(9)
                    ],
                    "checks": [Check(family="fairness", name=f"{i}", status="unknown", message=name) for i in many],
                }
            ),
            "importance": [whole.importance[0].model_copy(update={"column": f"{i} {name}"}) for i in many],
            "dependence": [
                one.model_copy(update={"column": name, "values": [name] * 12, "challenger": [0.1] * 12, "champion": [0.2] * 12})
                for one in (whole.dependence * 5)[:5]
            ],
            "inputs": base.inputs.model_copy(
                update={"batches": [base.inputs.batches[0].model_copy(update={"path": f"{i}{name}"}) for i in many]}
            ),
        }
    )

    source = render(huge, tmp_path)

    assert len(source.encode()) < LIMIT
    for what in ("checks", "segments", "groups", "columns", "files"):
        assert re.search(rf"\d more {what} stand in the report", source), what
    assert re.search(r"\d more reasons: see the checks", source)


def test_figures_that_are_none_are_not_drawn(found: dict[str, Evaluation], tmp_path: Path) -> None:
    """Infinite ends, undefined metrics, curves without a width: said as unknown, or left out."""
    base = found["promote"]
    assert base.champion
    assert base.comparison
    nan, inf = float("nan"), float("inf")
    curves = base.challenger.curves.model_copy(
        update={"roc": [], "calibration": [Bin(score=0.5, label=nan, rows=1), Bin(score=0.5, label=0.5, rows=3)]}
    )
    odd = base.model_copy(
        update={
            "challenger": base.challenger.model_copy(
                update={
                    "metrics": {"roc_auc": 0.7, "brier": nan},
                    "ranges": {"roc_auc": Range(value=0.7, lower=-inf, upper=inf)},
                    "curves": curves,
                }
            ),
            "champion": base.champion.model_copy(update={"metrics": {}, "ranges": {}, "curves": type(curves)()}),
            "comparison": base.comparison.model_copy(update={"lower": -inf, "upper": inf, "detectable": inf, "se": nan}),
            "checks": [check.model_copy(update={"lower": -inf, "upper": nan}) for check in base.checks],
        }
    )

    source = render(odd, tmp_path)

    said = read(source)
    assert "brier undefined undefined" in said
    assert "roc_auc decides 0.7000 undefined" in said
    for drawn in re.findall(r"<svg.*?</svg>", source, flags=re.DOTALL):
        assert not re.search(r"nan|inf", " ".join(str(element.get("d")) for element in ET.fromstring(drawn).iter()))


def test_an_evaluation_of_nothing_says_so(found: dict[str, Evaluation], tmp_path: Path) -> None:
    """Where rows are missing there is no comparison, no curve and no segment; the page tells that in words."""
    missing = Check(family="champion", name="rows", status="unknown", message="3 of 9 labelled rows have no prediction of the champion.")
    empty = found["block"].model_copy(
        update={
            "comparison": None,
            "checks": [missing],
            "reasons": [missing.message],
            "segments": None,
            "fairness": None,
            "importance": [],
            "dependence": [],
            "holdout": None,
            "challenger": found["block"].challenger.model_copy(
                update={"metrics": {}, "ranges": {}, "curves": type(found["block"].challenger.curves)()}
            ),
            "champion": None,
        }
    )

    said = read(render(empty, tmp_path))

    assert "? improvement not known 3 of 9 labelled rows have no prediction of the champion." in said
    for sentence in (
        "There is no comparison",
        "There are no curves",
        "Segments were not looked at.",
        "Fairness was not looked at.",
        "Importance was not measured",
    ):
        assert sentence in said


@pytest.mark.parametrize("mode", [0, 1], ids=["light", "dark"])
def test_text_of_a_verdict_stands_out(mode: int) -> None:
    """The colour of `keep` has a contrast of at least 4.5 to 1 with what is behind it (WCAG 2.2, AA); the others are the monitor's."""
    shared = (Path(template.__file__).parent / "style.css.j2").read_text(encoding="utf-8")
    own = (Path(page.__file__).parent / "page.html.j2").read_text(encoding="utf-8")
    behind = dict(re.findall(r"--(\w+): #(\w+)", re.findall(r":root \{(.*?)\}", shared, flags=re.DOTALL)[mode]))
    calm = re.findall(r"--calm: #(\w+)", own)[mode]
    fine = re.findall(r"--fine: #(\w+)", own)[mode]

    assert contrast(calm, behind["paper"]) >= 4.5
    assert contrast(calm, behind["panel"]) >= 4.5
    assert contrast(behind["now"], fine) >= 3  # marks on the chart's zone
