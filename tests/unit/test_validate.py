"""Batches against the schema, and what becomes of those that fail."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pandas as pd
import pytest
from unit import mini_project

from modelyard import validate
from modelyard.errors import ProjectError
from modelyard.project import Project


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return mini_project.make(tmp_path)


def _file(project: Project, period: str = "2013-02") -> Path:
    return project.root / f"data/raw/{period}.parquet"


def _spoil(project: Project, column: str, value: object, rows: int) -> None:
    frame = pd.read_parquet(_file(project))
    frame[column] = frame[column].astype(object)
    frame.loc[: rows - 1, column] = value
    frame.infer_objects().to_parquet(_file(project))


def _report(project: Project) -> validate.Validation:
    return validate.Validation.model_validate_json((project.root / "reports/validate.json").read_bytes())


def _commit_pointer(project: Project) -> None:
    _file(project).with_suffix(".parquet.dvc").write_text("outs: []\n")
    subprocess.run(["git", "add", "-f", "data/raw/2013-02.parquet.dvc"], cwd=project.root, check=True)
    subprocess.run(["git", "commit", "--quiet", "-m", "pointer"], cwd=project.root, check=True)


def test_good_batches_are_valid(project: Project) -> None:
    """Batches that fit are valid, and stay where they are."""
    outcome = validate.run(project)

    assert (outcome.verdict, outcome.positive, outcome.outputs["batches"]) == ("valid", True, "2")
    assert [batch.rows for batch in _report(project).batches] == [31 * 40, 28 * 40]
    assert _file(project).exists()


def test_a_range_is_refused_by_name_and_number(project: Project) -> None:
    """A value out of range is told with column, check, rows, percentage and examples."""
    _spoil(project, "x", 80.5, 56)

    outcome = validate.run(project)

    assert outcome.exit_code == 10
    assert outcome.problems == ("2013-02: x: in_range(-8, 8): 56 of 1,120 rows (5.0%), e.g. 80.5",)
    assert outcome.problems[0].removeprefix("2013-02: ") in outcome.summary


def test_people_are_told_of_refused_periods_until_all_are_valid(project: Project) -> None:
    """The same periods are no news; batches that are valid again close the issue."""
    well = validate.run(project).alert
    _spoil(project, "x", 80.5, 56)
    outcome = validate.run(project)

    assert well
    assert well.over
    assert outcome.alert
    assert (
        (outcome.alert.key, outcome.alert.state, outcome.alert.over) == (well.key, "2013-02", False) == ("validate:mini", "2013-02", False)
    )
    assert outcome.alert.news == f"- {outcome.problems[0]}"


def test_missing_values_are_refused_by_name_and_number(project: Project) -> None:
    """A required column with gaps is told as missing."""
    _spoil(project, "x", None, 112)

    assert validate.run(project).problems == ("2013-02: x: 112 of 1,120 rows (10.0%) missing",)


def test_each_kind_of_failure_is_one_line(project: Project) -> None:
    """A lost column, a foreign one, a new category and a wrong type are each named once."""
    frame = pd.read_parquet(_file(project)).drop(columns="gap").assign(extra=1)
    frame["serial"] = frame["serial"].astype(float)
    frame.loc[:9, "group"] = "q"
    frame.to_parquet(_file(project))

    problems = [p.removeprefix("2013-02: ") for p in validate.run(project).problems]

    assert "gap: the column is missing" in problems
    assert "extra: the column is not in the schema" in problems
    assert any(p.startswith("serial: dtype('int64'): found float64") for p in problems)
    assert any(p.startswith("group: isin(") and "10 of 1,120 rows (0.9%), e.g. q" in p for p in problems)


def test_a_check_across_columns_counts_rows_once(project: Project) -> None:
    """A failing row of a check across columns is one row, however many columns it has."""
    frame = pd.read_parquet(_file(project))
    frame.loc[frame.index[:7], ["group", "gap"]] = ["a", 3.0]
    frame.to_parquet(_file(project))

    assert "2013-02: gap_fits_group: 7 of 1,120 rows (0.6%)" in validate.run(project).problems


def test_a_check_of_a_column_as_a_whole_says_so(project: Project) -> None:
    """A check that answers once for all rows names no rows; one that fails on missing values gives no example."""
    path = project.source / project.policy.package / "schema.py"
    checks = """
    @pa.check("x", error="its mean is off: other units?")
    def mean(cls, column):
        return abs(float(column.mean())) < 1

    @pa.check("gap", ignore_na=False, error="more than 5 % missing")
    def known(cls, column):
        return column.notna() | (column.isna().mean() < 0.05)
"""
    path.write_text(path.read_text().replace("    @pa.dataframe_check", f"{checks}\n    @pa.dataframe_check"))
    frame = pd.read_parquet(_file(project))
    frame["x"] = frame["x"].abs() + 2
    frame.loc[:99, "gap"] = None
    frame["x"] = frame["x"].clip(upper=7)
    frame.to_parquet(_file(project))

    problems = validate.run(project).problems

    assert problems == (
        "2013-02: gap: more than 5 % missing: 125 of 1,120 rows (11.2%)",
        "2013-02: x: its mean is off: other units?: the column as a whole",
    )


def test_checks_across_columns_do_not_repeat_that_one_is_lost(project: Project) -> None:
    """What is told of a lost column is that it is lost."""
    frame = pd.read_parquet(_file(project)).drop(columns="group")
    frame.to_parquet(_file(project))

    assert validate.run(project).problems == ("2013-02: group: the column is missing",)


def test_the_label_and_the_times_are_the_toolkits_own_concern(project: Project) -> None:
    """A batch without the label column, or with rows of another period, fails whatever the schema says."""
    frame = pd.read_parquet(_file(project))
    frame.drop(columns="late").to_parquet(_file(project))
    _file(project, "2013-01").write_bytes(_file(project).read_bytes())
    frame.assign(time=frame["time"] + pd.Timedelta(days=1)).to_parquet(_file(project))

    problems = validate.run(project).problems

    assert problems[0] == "2013-01: late: the column is missing"
    assert problems[1].startswith("2013-02: time: within 2013-02: 40 of 1,120 rows (3.6%), e.g. 2013-03-01")


def test_a_new_batch_that_fails_is_quarantined(project: Project) -> None:
    """File and pointer leave data/raw, the file is kept, and an older one of the same name is replaced."""
    _file(project).write_bytes(b"no parquet")
    _file(project).with_suffix(".parquet.dvc").write_text("outs: []\n")
    kept = project.root / ".modelyard/quarantine/2013-02.parquet"
    kept.parent.mkdir(parents=True)
    kept.write_bytes(b"older")

    outcome = validate.run(project)

    assert outcome.outputs["quarantined"] == "2013-02"
    assert "the file cannot be read" in outcome.problems[0]
    assert not _file(project).exists()
    assert not _file(project).with_suffix(".parquet.dvc").exists()
    assert kept.read_bytes() == b"no parquet"
    assert validate.run(project).verdict == "valid"


def test_a_committed_batch_that_fails_stays(project: Project) -> None:
    """What is in the record already is reported, and left in place."""
    _commit_pointer(project)
    _spoil(project, "x", 80.5, 1)

    outcome = validate.run(project)

    assert (outcome.verdict, outcome.outputs["quarantined"]) == ("invalid", "")
    assert "left in place" in outcome.summary
    assert _file(project).exists()


def test_no_batches_is_said(tmp_path: Path) -> None:
    """A fresh project is valid, and says that nothing was there; pointers without files are named."""
    project = mini_project.yard(tmp_path)
    (project.root / "data/raw/2013-01.parquet.dvc").write_text("outs: []\n")

    outcome = validate.run(project)

    assert outcome.verdict == "valid"
    assert "there are no batches" in outcome.summary.splitlines()[0]
    assert "2013-01" in outcome.summary
    assert json.loads((project.root / "reports/validate.json").read_text())["absent"] == ["2013-01"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("class Batch(pa.DataFrameModel)", "class Batch", "is no pandera DataFrameModel"),
        ("time:", "nowhere: 'nonsense'\n    time:", "cannot be applied"),
    ],
)
def test_a_broken_schema_is_the_projects_fault(project: Project, old: str, new: str, message: str) -> None:
    """A schema that cannot check anything is no verdict on the data."""
    path = project.source / project.policy.package / "schema.py"
    path.write_text(path.read_text().replace(old, new))

    with pytest.raises(ProjectError, match=message):
        validate.run(project)
    assert _file(project).exists()


def test_reports_do_not_depend_on_the_day(project: Project) -> None:
    """Validating twice gives the same bytes."""
    validate.run(project)
    first = (project.root / "reports/validate.json").read_bytes()

    validate.run(project)

    assert (project.root / "reports/validate.json").read_bytes() == first
