"""Any table beside any profile: bad input, repeated rows, freshness, engines, and the folder of all checks."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from unit import mini_project
from unit import monitor_reports as reports

from modelyard import champion, monitor, profile
from modelyard.errors import DataError, RegistryError, UsageError
from modelyard.monitor import engine, live, measure, table, watch
from modelyard.outcome import Outcome
from modelyard.project import Project

WEEK = timedelta(days=7)
END = datetime(2013, 3, 26)  # of the reference
Change = Callable[[pd.DataFrame], pd.DataFrame]


def _frame(start: datetime, days: int, seed: int = 0) -> pd.DataFrame:
    draw = np.random.default_rng(seed)
    n = days * 60
    return pd.DataFrame(
        {
            "time": pd.Timestamp(start) + pd.to_timedelta(np.arange(n) * 24, "min"),
            "x": draw.normal(size=n),
            "k": draw.integers(0, 9, n),
            "t": draw.choice(["a", "b", "c"], n),
        }
    )


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A profile of twelve weeks."""
    folder = tmp_path_factory.mktemp("reference")
    _frame(END - 12 * WEEK, 84).to_parquet(folder / "reference.parquet")
    profile.table(str(folder / "reference.parquet"), folder / "p", time="time", roles={}, segments=("t",), block_days=7)
    return folder / "p"


def _checked(reference: Path, current: pd.DataFrame, folder: Path, ending: str = "parquet", **more: Any) -> tuple[Outcome, dict[str, Any]]:
    """The outcome, and the report, which is written in each format."""
    path = folder / f"now.{ending}"
    current.to_csv(path, index=False) if ending == "csv" else current.to_parquet(path)
    outcome = monitor.check(reference, str(path), json=folder / "r.json", html=folder / "r.html", **more)
    assert (folder / "r.html").stat().st_size > 1000
    found: dict[str, Any] = json.loads((folder / "r.json").read_text())
    assert [check["name"] for check in found["checks"]] == ["schema", "volume", "freshness", "duplicates", "missing", "novel", "drift"]
    return outcome, found


def _few(frame: pd.DataFrame, column: str, value: object) -> pd.DataFrame:
    changed = frame.astype({column: str}) if isinstance(value, str) else frame
    return changed.assign(**{column: changed[column].where(changed.index % 5 < 4, value)})


@pytest.mark.parametrize("ending", ["parquet", "csv"])
@pytest.mark.parametrize(
    ("change", "check", "told"),
    [
        pytest.param(lambda f: f, "", "", id="an ordinary week"),
        pytest.param(lambda f: f.head(0), "volume", "There are no rows.", id="empty"),
        pytest.param(lambda f: f.head(1), "volume", "1 rows a day, 0.02 times the reference's 60", id="a single row"),
        pytest.param(lambda f: f.assign(x=1.0), "drift", "x ", id="constant number"),
        pytest.param(lambda f: f.assign(t="a"), "drift", "t ", id="constant text"),
        pytest.param(lambda f: f.assign(x=np.nan), "missing", "x 0 % \u2192 100 %", id="all missing"),
        pytest.param(lambda f: f.assign(t=None), "missing", "t 0 % \u2192 100 %", id="all texts missing"),
        pytest.param(lambda f: f.assign(time=pd.NaT), "missing", "time 0 % \u2192 100 %", id="no time is known"),
        pytest.param(lambda f: _few(f, "x", np.inf), "novel", "x ", id="infinities"),
        pytest.param(lambda f: _few(f, "x", "n. n."), "schema", "of another kind: x holds text (was number)", id="mixed types"),
        pytest.param(lambda f: f.drop(columns="k"), "schema", "gone: k", id="a column is gone"),
        pytest.param(lambda f: f.drop(columns="time"), "schema", "gone: time", id="the time is gone"),
        pytest.param(lambda f: f[["time"]], "schema", "gone: k, t, x", id="all columns are gone"),
        pytest.param(lambda f: f.rename(columns=str.upper), "schema", "gone: k, t, time, x; new: TIME, X, K, T", id="other columns"),
        pytest.param(lambda f: f.assign(new=1), "schema", "new: new", id="a column is new"),
        pytest.param(lambda f: f.assign(k=f["time"]), "schema", "k holds time (was number)", id="another kind"),
        pytest.param(lambda f: f.assign(t=f.index.astype(str) + "-id"), "novel", "t ", id="values never seen"),
        pytest.param(lambda f: pd.concat([f, f.head(20)]), "duplicates", "4.5 % of the rows are repeated", id="repeated rows"),
    ],
)
def test_never_a_traceback_never_a_silent_healthy(
    reference: Path, tmp_path: Path, change: Change, check: str, told: str, ending: str
) -> None:
    """Each fault is told by the check that it belongs to, which alerts (what only grew is noted); the report is written all the same."""
    outcome, found = _checked(reference, change(_frame(END, 7, 1)), tmp_path, ending)

    said = {one["name"]: one for one in found["checks"]}
    if not check:
        assert outcome.verdict == "healthy"
        return
    if told == "new: new":
        assert (outcome.verdict, said[check]["status"]) == ("healthy", "noted")
        assert "noted: schema" in outcome.summary
    else:
        assert (outcome.verdict, said[check]["status"]) == ("alert", "alert"), said
    assert told in said[check]["message"]


def test_millions_of_categories(reference: Path, tmp_path: Path) -> None:
    """A column of identifiers alerts beside one of three values, and is ordinary beside one of identifiers."""
    current = _frame(END, 7, 1).sample(300_000, replace=True, random_state=1, ignore_index=True)
    current["t"] = [f"id-{i}" for i in range(len(current))]
    current["time"] = END + pd.to_timedelta(np.sort(np.random.default_rng(1).integers(0, 7 * 1440, len(current))), "min")

    outcome, found = _checked(reference, current, tmp_path)
    own = measure.make(table.from_frame(current.drop(columns="time")))
    again, _ = measure.count(own, table.from_frame(current.assign(t=current["t"] + "-new")))

    assert "novel" in {check["name"] for check in found["checks"] if check["status"] == "alert"}
    assert (outcome.verdict, again.total, again.duplicates) == ("alert", 300_000, 0)


@pytest.mark.parametrize("rows", [0, 1])
def test_few_rows_without_times(tmp_path: Path, rows: int) -> None:
    """No row alerts; of one it is said how little is known."""
    frame = _frame(END, 7).drop(columns="time")
    frame.to_parquet(tmp_path / "reference.parquet")
    profile.table(str(tmp_path / "reference.parquet"), tmp_path / "p", time=None, roles={}, segments=(), block_days=7)

    outcome, found = _checked(tmp_path / "p", frame.head(rows), tmp_path)

    assert outcome.verdict == ("healthy" if rows else "alert")
    assert rows == 0 or "not known: volume, freshness" in found["reason"]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("UTC", "carry a zone, those of the reference carry none"),
        ("mixed", "mixes times"),
        ("number", "Column 'time' of .* is a number, not a time"),
    ],
)
def test_zones_are_not_mixed(reference: Path, tmp_path: Path, change: str, told: str) -> None:
    """Times with a zone beside times without one, in two tables or in one column, would be hours off: they are refused, as are numbers."""
    frame = _frame(END, 7)
    times = {"UTC": frame["time"].dt.tz_localize("UTC"), "mixed": _few(frame, "time", f"{END}+01:00")["time"], "number": frame["k"]}
    frame["time"] = times[change]

    with pytest.raises(DataError, match=told):
        _checked(reference, frame, tmp_path, "csv")


def test_predictions_and_labels_make_no_row_another_one() -> None:
    """The share of repeated rows is that of the data: whatever a model says of them, and whether or not their labels are known."""
    frame = _frame(END, 7)
    frame = pd.concat([frame, frame.head(42)])
    scored = frame.assign(score=np.arange(len(frame)), late=np.arange(len(frame)) % 2)
    roles: Any = {"score": "prediction", "late": "label"}

    made = measure.make(table.from_frame(scored), time="time", roles=roles)
    plain = measure.make(table.from_frame(frame), time="time")
    unlabelled, _ = measure.count(made, table.from_frame(frame.assign(late=None)))
    gone, _ = measure.count(made, table.from_frame(frame.drop(columns="k")))

    assert made.duplicates == plain.duplicates == unlabelled.duplicates == 42 / 462
    assert gone.duplicates is None
    assert measure.make(table.from_frame(frame.assign(id=np.arange(len(frame)))), time="time").duplicates == 0


def _command(*args: str, now: str | None = None) -> Any:
    environment = {"MODELYARD_NOW": now}
    return CliRunner().invoke(monitor.command, list(args), env=environment, standalone_mode=False)


@pytest.mark.parametrize(
    ("given", "variable", "status", "told"),
    [
        ([], None, "unknown", "nobody says until when"),
        (["--now", "2013-04-03"], None, "ok", "The newest row is of 2013-04-01"),
        (["--now", "2013-05-01T12:00:00+02:00"], None, "alert", "29 days old; 14 are allowed"),
        ([], "2013-05-01", "alert", "29 days old; 14 are allowed"),
    ],
)
def test_freshness_is_asked_where_a_date_is_given(
    reference: Path, tmp_path: Path, given: list[str], variable: str | None, status: str, told: str
) -> None:
    """A table of last year is no fault in itself; who says until when there should be rows is told how old the newest one is."""
    _frame(END, 7).to_parquet(tmp_path / "now.parquet")
    done = _command(
        "--profile", str(reference), "--current", str(tmp_path / "now.parquet"), "--json", str(tmp_path / "r"), *given, now=variable
    )
    found = json.loads((tmp_path / "r").read_text())

    check = next(check for check in found["checks"] if check["name"] == "freshness")
    assert check["status"] == status
    assert told in check["message"]
    assert done.return_value.verdict == ("alert" if status == "alert" else "healthy")
    assert (found["now"] is None) == (status == "unknown")


def test_a_report_of_broken_numbers_is_written(tmp_path: Path) -> None:
    """NaN and infinities, which JSON does not have, become null."""
    found = reports.big()
    shift = replace(found.columns[0], psi=float("nan"), js=np.float64("inf"), scores=(1.5, float("-inf")))

    watch.write(tmp_path / "r.json", replace(found, columns=(shift,)))

    (column,) = json.loads((tmp_path / "r.json").read_text(), parse_constant=pytest.fail)["columns"]
    assert (column["psi"], column["js"], column["scores"]) == (None, None, [1.5, None])


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """Address of a scheduler with two workers."""
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None, silence_logs=50) as made:
        yield made.scheduler_address


@pytest.mark.parametrize("ending", ["parquet", "csv"])
def test_engines_give_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cluster: str, ending: str) -> None:
    """Profile, report and page of a folder, counted here and on two workers."""
    monkeypatch.setenv(engine.ADDRESS, cluster)
    monkeypatch.chdir(tmp_path)
    for name, start, weeks in (("before", END - 12 * WEEK, 12), ("now", END, 4)):
        (tmp_path / name).mkdir()
        for week in range(weeks):
            part = _frame(start + week * WEEK, 7, week).assign(t=lambda f, w=week: np.where(f.index % 7 > 0, f["t"], f"v{w % 5}"))
            path = tmp_path / name / f"{week:02}.{ending}"
            part.to_csv(path, index=False) if ending == "csv" else part.to_parquet(path)
    made = {}
    for which in ("local", "dask"):
        names = {what: f"{which}.{what}" for what in ("profile", "json", "html")}
        asked = ["before", "-o", names["profile"], "--time", "time", "--segment", "t", "--engine", which]
        assert CliRunner().invoke(profile.command, asked, standalone_mode=False).exit_code == 0
        (tmp_path / "p").write_bytes((tmp_path / names["profile"]).read_bytes())
        done = _command(
            "--profile", "p", "--current", "now", "--json", names["json"], "--html", names["html"], "--engine", which, "--now", "2013-05-01"
        )
        assert done.exit_code == 0, done.exception
        made[which] = [(tmp_path / name).read_bytes() for name in names.values()]

    assert made["local"] == made["dask"]


def test_an_engine_is_for_tables() -> None:
    """A project's own windows are small: there the option is refused, as the others are."""
    for command in (profile.command, monitor.command):
        with pytest.raises(UsageError, match="need"):
            CliRunner().invoke(command, ["--engine", "dask"], standalone_mode=False, catch_exceptions=False)


@pytest.fixture
def watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project with an origin, whose check finds what a fixed report says, at each date."""
    project = mini_project.yard(tmp_path)
    monkeypatch.setattr(champion, "load", lambda _: object())
    monkeypatch.setattr(live, "look", lambda _, __, now: replace(reports.big(), now=now))
    return project


def _dates(project: Project) -> list[str]:
    return sorted(path.name for path in (project.root / "reports/monitor").iterdir())


def test_all_checks_stand_in_an_index(watched: Project) -> None:
    """Each by its date with a page that leads back; a fresh clone gets the earlier ones from the log."""
    for day in (1, 8):
        monitor.run(watched, datetime(2013, 4, day, 5, tzinfo=UTC))
    folder = watched.root / "reports/monitor"

    assert _dates(watched) == ["2013-04-01.html", "2013-04-01.json", "2013-04-08.html", "2013-04-08.json", "index.html"]
    assert 'href="index.html"' in (folder / "2013-04-08.html").read_text()
    assert (folder / "2013-04-08.json").read_bytes() == (watched.root / "reports/monitor.json").read_bytes()

    first = (folder / "2013-04-01.json").read_bytes()
    for path in folder.iterdir():
        path.unlink()
    monitor.run(watched, datetime(2013, 4, 15, 5, tzinfo=UTC))
    index = (folder / "index.html").read_text()

    assert _dates(watched)[::2] == ["2013-04-01.html", "2013-04-08.html", "2013-04-15.html", "index.html"]
    assert (folder / "2013-04-01.json").read_bytes() == first
    assert [day for day in ("01", "08", "15") if f'href="2013-04-{day}.html"' in index] == ["01", "08", "15"]


def test_an_index_without_earlier_checks_is_no_failure(
    watched: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The check stands, and what is missing is told."""

    def fail(*_: object) -> None:
        raise RegistryError("The server is down.")

    monkeypatch.setattr(monitor, "_recall", fail)
    monitor.run(watched, datetime(2013, 4, 1, 5, tzinfo=UTC))

    assert _dates(watched) == ["2013-04-01.html", "2013-04-01.json", "index.html"]
    assert "The index lacks earlier checks: The server is down." in capsys.readouterr().err
