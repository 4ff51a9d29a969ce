"""Workflow `score`: a batch gets the live model's predictions, which outlive the job; main is left alone."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pandas as pd
import pytest
from workflows.conftest import Scene
from workflows.yard import MAY, Yard

pytestmark = pytest.mark.slow

BATCH = "data/scored/2013-04"
# What the released model says of April, by its own code.
CHAMPION = """
import sys
from datetime import datetime
from modelyard import champion, dataset, predictions, project
here = project.find()
frame = dataset.load(here, datetime(2013, 4, 1), datetime(2013, 5, 1))
frame.assign(expected=predictions.of_champion(champion.load(here), frame)).to_parquet(sys.argv[1])
"""


def brought(yard: Yard, folder: Path) -> tuple[pd.DataFrame, str]:
    """The batch as a later clone gets it, and what the command said."""
    pulled = yard.command("state", "pull")
    assert pulled.returncode == 0, pulled.stderr
    done = yard.command("score", "--now", MAY.isoformat())
    assert done.returncode in (0, 10), done.stderr
    return pd.read_parquet(yard.root / BATCH), done.stdout


def test_nothing_is_live(fresh: Scene) -> None:
    """Before the first release there is no model to ask: the run succeeds, and writes nothing."""
    before = fresh.yard.refs()
    run = fresh.yard.happen("workflow_dispatch", "score")

    assert (run.conclusion, run.verdict) == ("success", "none"), run.log
    assert fresh.yard.refs() == before


def test_each_month_is_scored_once_it_is_over(released: Scene, tmp_path: Path) -> None:
    """On a schedule, which the caller only has to be given; the same run again scores nothing, and another clone gets the predictions."""
    yard = released.yard.copy(tmp_path)
    path = yard.root / ".github/workflows/score.yml"
    path.write_text(path.read_text().replace("  # schedule:", "  schedule:").replace("  #   - cron", "    - cron"))
    yard.commit("Score each month")
    before = yard.refs()
    run = yard.happen("schedule", "score", MAY)

    assert (run.conclusion, run.verdict) == ("success", "complete"), run.log
    assert run.outputs["batch"] == "2013-04"
    assert run.outputs["rows"] == run.outputs["scored"] != "0"
    assert (run.outputs["refused"], run.outputs["version"]) == ("0", "1")
    after = yard.refs()
    assert {name for name in after if after[name] != before.get(name)} == {"modelyard-state"}
    (kept,) = yard.artifacts.glob("score-*/reports-score/score.json")
    assert json.loads(kept.read_text())["model"]["sha256"] == yard.record().model.sha256
    (logged,) = yard.logged("flights-score")
    assert (logged["batch"], logged["champion"], logged["verdict"]) == ("2013-04", "1", "complete")

    again = yard.happen("schedule", "score", MAY + timedelta(days=7))
    assert (again.conclusion, again.verdict, again.outputs["scored"]) == ("success", "complete", "0"), again.log
    assert yard.refs() == after

    found, said = brought(yard, tmp_path)
    done = yard.command("-c", CHAMPION, str(tmp_path / "expected.parquet"), program="python")
    assert done.returncode == 0, done.stderr
    expected = pd.read_parquet(tmp_path / "expected.parquet")
    assert "nothing was scored again" in said
    assert found["prediction"].tolist() == expected["expected"].tolist()
    assert found[["scheduled", "flight"]].equals(expected[["scheduled", "flight"]])
    assert json.loads((yard.root / BATCH / "_manifest.json").read_text()) == json.loads(kept.read_text())


def test_rows_that_the_service_would_refuse_are_told(released: Scene, tmp_path: Path) -> None:
    """A span by dispatch: the others have their predictions, the run is green with the verdict, and people are called."""
    yard = released.yard.copy(tmp_path)
    flights = yard.flights()
    april = flights.index[flights["scheduled"].between("2013-04-10", "2013-04-12")]
    flights.loc[april[:5], "temp"] = 300.0
    yard.supply(flights)
    run = yard.happen("workflow_dispatch", "score", inputs={"start": "2013-04-10", "end": "2013-04-12", "now": MAY.isoformat()})

    assert (run.conclusion, run.verdict) == ("success", "partial"), run.log
    assert (run.outputs["batch"], run.outputs["refused"]) == ("2013-04-10_2013-04-12", "5")
    assert "| temp: above 115 | 5 |" in run.summary
    assert "it would open the issue 'Modelyard: rows of flights have no prediction'." in run.log
