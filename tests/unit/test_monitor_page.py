"""The page of a check and the index of all checks: whole in themselves, small, accessible, and safe from what they show."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import asdict, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from unit import monitor_reports as reports
from unit.html_page import Page, contrast

from modelyard.monitor import page
from modelyard.monitor.report import Monitoring
from modelyard.page import template

LIMIT = 200_000


def render(found: Monitoring, folder: Path) -> str:
    path = folder / "reports" / "check.html"
    page.write(found, path, index="index.html")
    return path.read_text(encoding="utf-8")


def stored(found: Monitoring, path: Path) -> None:
    def plain(value: Any) -> str:
        assert isinstance(value, datetime)
        return value.isoformat()

    path.write_text(json.dumps(asdict(found), default=plain), encoding="utf-8")


@pytest.mark.parametrize("make", reports.ALL, ids=lambda make: make.__name__)
def test_the_page_is_whole_in_itself(make: Callable[[], Monitoring], tmp_path: Path) -> None:
    """It is small and well-formed, runs no script and loads nothing, and its links stay in the page or its folder."""
    source = render(make(), tmp_path)

    seen = Page(source)
    assert seen.open == []
    assert len(source.encode()) < LIMIT
    assert not {"script", "link", "img", "iframe", "object", "embed", "form"} & {tag for tag, _ in seen.elements}
    assert not [name for _, attributes in seen.elements for name in attributes if name == "src" or name.startswith("on")]
    assert {link["href"] for link in seen.of("a")} <= {"index.html", "#checks", "#columns", "#performance"}
    assert "url(" not in source
    assert "@import" not in source
    policy = next(meta["content"] for meta in seen.of("meta") if meta.get("http-equiv"))
    assert policy == "default-src 'none'; style-src 'unsafe-inline'"


@pytest.mark.parametrize("make", reports.ALL, ids=lambda make: make.__name__)
def test_charts_are_told_to_who_cannot_see_them(make: Callable[[], Monitoring], tmp_path: Path) -> None:
    """Each chart is well-formed and has a label, or is hidden where the text beside it says the same; no figure in it is none."""
    source = render(make(), tmp_path)

    for drawn in re.findall(r"<svg.*?</svg>", source, flags=re.DOTALL):
        chart = ET.fromstring(drawn)  # raises where it is no XML
        assert chart.get("aria-hidden") == "true" or (chart.get("role") == "img" and chart.get("aria-label"))
        assert not re.search(r"nan|inf", " ".join(str(element.get("d")) for element in chart.iter()))


def test_the_same_report_is_the_same_bytes(tmp_path: Path) -> None:
    """A page depends on its report only, and nothing else is left in the folder."""
    first = render(reports.big(), tmp_path / "a")

    assert render(reports.big(), tmp_path / "b") == first
    assert [path.name for path in (tmp_path / "a" / "reports").iterdir()] == ["check.html"]


def test_the_verdict_comes_first_then_checks_then_columns(tmp_path: Path) -> None:
    """Who has seconds reads the verdict and its reason; alarmed columns are open and before the folded ones."""
    found = reports.big()

    source = render(found, tmp_path)

    said = Page(source).said
    order = [
        said.index(what)
        for what in ("↻ Retrain", found.reason, "Checks", "Shapes moved in 3 of the last 4 weeks", "Columns that alarm: 3 of 17")
    ]
    assert order[:3] == sorted(order[:3])
    assert order[2] < order[4]
    folds = Page(source).of("details")
    assert ["open" in fold for fold in folds] == [True] * 3 + [False] * 14
    assert [fold["class"] for fold in folds] == ["column alarm"] * 3 + ["column"] * 14


def test_a_page_of_17_columns_shows_all_there_is(tmp_path: Path) -> None:
    """Distributions, columns over time, segments, scores with their limit, performance and decay with intervals, the estimate."""
    seen = Page(render(reports.big(), tmp_path))

    labels = " ".join(str(chart.get("aria-label")) for chart in seen.of("svg"))
    assert labels.count("Distribution of ") == 17
    assert labels.count(" over weeks. Current: ") == 17
    assert "Score of the table over 30 weeks: 3 of 4 current weeks lie above the limit of 2.38" in labels
    assert "roc_auc 0.7012 (95 %: 0.6804 to 0.7211); at release 0.7421" in labels
    assert "A fresh model of the same recipe gains +0.0142 (95 %: -0.0031 to +0.0315; limit 0.02)" in labels
    assert "origin = JFK" in seen.said
    assert "An estimate, not measured" in seen.said


def test_nothing_that_is_shown_is_markup(tmp_path: Path) -> None:
    """Hostile names stand on the page as text, and do not turn the direction of writing."""
    source = render(reports.hostile(), tmp_path)

    assert "<script>alert(1)</script>" in Page(source).said
    assert "<script" not in source
    assert "\u202e" not in source


def test_approval_is_asked_for_at_the_top(tmp_path: Path) -> None:
    """Who must act, and how, stands beside the verdict."""
    said = Page(render(reports.approval(), tmp_path)).said

    assert said.index("A person must start the training: dispatch the workflow train.") < said.index("Checks")


def test_performance_unknown_is_said(tmp_path: Path) -> None:
    """Missing labels are told as unknown at the top, never as fine."""
    said = Page(render(reports.unknown(), tmp_path)).said

    assert "? performance unknown The metric is not known: 0 of 28,243 rows have a label." in said


@pytest.mark.parametrize(
    "base", [reports.DELAY, reports.quiet("x"), replace(reports.CARRIER, column="x", cells=reports.bell(["飛" * 300] * 20, 1))]
)
def test_a_wide_table_leaves_charts_out(tmp_path: Path, base: Any) -> None:
    """3,000 columns fit on a page; what has no room is counted."""
    columns = tuple(replace(base, column=f"column_{i:04}", causes=reports.PREDICTION.causes if base.alarm else ()) for i in range(3000))

    source = render(replace(reports.big(), columns=columns), tmp_path)

    assert len(source.encode()) < LIMIT
    assert re.search(r"\d more columns stand in the report", source)


@pytest.mark.parametrize("mode", ["light", "dark"])
def test_text_stands_out(mode: str) -> None:
    """All colours of text have a contrast of at least 4.5 to 1 with what is behind them (WCAG 2.2, AA)."""
    css = (Path(template.__file__).parent / "style.css.j2").read_text(encoding="utf-8")
    blocks = re.findall(r":root \{(.*?)\}", css, flags=re.DOTALL)
    colours = dict(re.findall(r"--(\w+): #(\w+)", blocks[0 if mode == "light" else 1]))

    for name in ("ink", "dim", "now", "alarm", "good", "warn"):
        for behind in ("paper", "panel"):
            assert contrast(colours[name], colours[behind]) >= 4.5, (name, behind)


def test_the_index_lists_checks_newest_first(tmp_path: Path) -> None:
    """Each check with date, verdict, reason and champion; the page is linked where there is one, else the report."""
    for weeks, make in enumerate((reports.healthy, reports.broken, reports.decayed)):
        now = reports.NOW + timedelta(weeks=weeks)
        stored(replace(make(), now=now), tmp_path / f"{now:%Y-%m-%d}.json")
    (tmp_path / "2013-07-15.html").touch()

    page.write_index(tmp_path)

    source = (tmp_path / "index.html").read_text(encoding="utf-8")
    seen = Page(source)
    rows = re.findall(r'<tr class="(\w+)"><td><a href="([^"]+)">([^<]+)</a>', source)
    assert rows == [
        ("retrain", "2013-07-15.html", "2013-07-15"),
        ("alert", "2013-07-08.json", "2013-07-08"),
        ("healthy", "2013-07-01.json", "2013-07-01"),
    ]
    assert seen.open == []
    assert "↻ Retrain on 2013-07-15 A training is due (decay:" in seen.said
    assert [item["title"] for item in seen.of("li")] == ["2013-07-01: healthy", "2013-07-08: alert", "2013-07-15: retrain"]
    assert "✓ ! ↻ 2013-07-01 to 2013-07-15" in seen.said


def test_the_index_names_what_it_cannot_read(tmp_path: Path) -> None:
    """Broken and foreign files are skipped, and named; a draft of a killed run is not even looked at."""
    stored(reports.healthy(), tmp_path / "2013-07-01.json")
    for name, content in {
        "broken.json": b'{"verdict": "heal',
        "bytes.json": b"\xff\xfe\x00",
        "deep.json": b"[" * 200_000,
        "list.json": b"[]",
        "other.json": b'{"verdict": "promote", "now": "2013-07-01T00:00:00Z", "checks": []}',
        "when.json": b'{"verdict": "alert", "now": "soon", "window": null, "checks": [], "columns": []}',
        "<b>.json": b"1",
        ".2013-07-02.json.17": b"{",
        ".draft.json": b"{",
    }.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "folder.json").mkdir()

    page.write_index(tmp_path)

    seen = Page((tmp_path / "index.html").read_text(encoding="utf-8"))
    named = "<b>.json , broken.json , bytes.json , deep.json , folder.json , list.json , other.json , when.json"
    assert "1 check, newest first" in seen.said
    assert seen.said.replace(".json,", ".json ,").endswith(named)


def test_an_index_of_nothing_says_so(tmp_path: Path) -> None:
    """A folder without reports has an index, too."""
    page.write_index(tmp_path)

    assert "There is no check here yet." in (tmp_path / "index.html").read_text(encoding="utf-8")


def test_the_index_escapes_what_reports_say(tmp_path: Path) -> None:
    """Names and reasons are text, file names are addresses, and reports without a date come last."""
    stored(reports.hostile(), tmp_path / 'a"b #%.json')
    stored(replace(reports.by_chance(), columns=()), tmp_path / "bare.json")

    page.write_index(tmp_path)

    source = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert "<script" not in source
    assert re.findall(r'<td><a href="([^"]+)">([^<]+)</a>', source) == [("a%22b%20%23%25.json", "2013-07-01 05:30"), ("bare.json", "bare")]


def test_the_index_is_the_same_bytes(tmp_path: Path) -> None:
    """Written twice, it has not changed."""
    stored(reports.healthy(), tmp_path / "x.json")
    page.write_index(tmp_path)
    first = (tmp_path / "index.html").read_bytes()

    page.write_index(tmp_path)

    assert (tmp_path / "index.html").read_bytes() == first
