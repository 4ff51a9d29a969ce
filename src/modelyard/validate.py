"""``modelyard validate``: every batch against the project's schema; what fails and is not yet recorded goes to quarantine."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click
from pydantic import BaseModel, Field

from modelyard.errors import ProjectError
from modelyard.outcome import Alert, Outcome
from modelyard.project import RAW, Project, find

if TYPE_CHECKING:
    import pandas as pd

    from modelyard.dataset import Period

REPORT = "validate.json"
QUARANTINE = Path(".modelyard/quarantine")
_EXAMPLES = 3
_NEWS = 20  # failures in a comment


class Failure(BaseModel):
    """One check that one column (or the rows as a whole) does not pass."""

    column: str = Field(description="Empty for a check across columns.")
    check: str
    rows: int = Field(description="Rows that fail; 0 where the column as a whole fails.")
    share: float = Field(description="Of the batch's rows.")
    examples: list[str]
    message: str = Field(description="The failure as one sentence.")


class Batch(BaseModel):
    """One period's file."""

    period: str
    path: str
    rows: int
    failures: list[Failure]
    quarantined: bool = Field(description="The file was moved to .modelyard/quarantine, and its pointer removed.")


class Validation(BaseModel):
    """What ``reports/validate.json`` holds."""

    version: Literal[1] = 1
    verdict: Literal["valid", "invalid"]
    batches: list[Batch]
    absent: list[str] = Field(description="Pointers whose files are not on this machine, and so were not checked.")


@dataclass(frozen=True)
class Schema:
    """The project's pandera model, ready to check frames."""

    model: Any

    def failures(self, frame: pd.DataFrame) -> list[Failure]:
        """Everything in ``frame`` that does not fit, per column and check; empty where all is well.

        Raises
        ------
        ProjectError
            The schema itself fails, whatever the data.
        """
        from pandera.errors import SchemaErrors

        try:
            self.model.validate(frame, lazy=True)
        except SchemaErrors as error:
            return _collect(error.failure_cases, len(frame))
        except Exception as error:
            raise ProjectError(f"The schema {self.model.__name__} cannot be applied: {type(error).__name__}: {error}") from error
        return []


def schema(project: Project) -> Schema:
    """The project's ``schema:Batch``.

    Raises
    ------
    ProjectError
        It is no pandera ``DataFrameModel``.
    """
    import pandera.pandas as pandera

    from modelyard.project import load_object

    model = load_object(project, "schema", "Batch")
    if not (isinstance(model, type) and issubclass(model, pandera.DataFrameModel)):
        name = f"{project.policy.package}.schema.Batch"
        raise ProjectError(f"{name} is no pandera DataFrameModel.", "Write class Batch(pandera.pandas.DataFrameModel).")
    return Schema(model)


def run(project: Project) -> Outcome:
    """Check all files in ``data/raw`` and write ``reports/validate.json``.

    A refused file whose pointer is not in git's HEAD yet is moved to ``.modelyard/quarantine`` and its pointer removed: the
    period stays missing, so that its repaired version is taken later. One that is committed is only reported, since it is
    already part of the record.
    """
    from modelyard import dataset, jsonfile, store
    from modelyard.console import step

    checks = schema(project)
    with step("bring the data"):
        store.pull_missing_data(project.root, RAW)
    batches = []
    for period in dataset.on_disk(project):
        with step(f"validate {period.name}"):
            batches.append(_check(project, checks, period))
    pointers = (project.root / RAW).glob("*.parquet.dvc")
    known = {store.pointer(project.root / b.path).name for b in batches}
    absent = sorted(p.name.removesuffix(".parquet.dvc") for p in pointers if p.name not in known)
    valid = not any(batch.failures for batch in batches)
    found = Validation(verdict="valid" if valid else "invalid", batches=batches, absent=absent)
    jsonfile.write(project.report(REPORT), found)
    problems = tuple(f"{b.period}: {failure.message}" for b in batches for failure in b.failures)
    return Outcome(
        verdict=found.verdict,
        summary=_summary(found),
        positive=valid,
        outputs={
            "batches": str(len(batches)),
            "invalid": " ".join(b.period for b in batches if b.failures),
            "quarantined": " ".join(b.period for b in batches if b.quarantined),
        },
        problems=problems,
        alert=Alert(
            key=f"validate:{project.policy.name}",
            title=f"Modelyard: data of {project.policy.name} were refused",
            state=" ".join(batch.period for batch in batches if batch.failures),
            news=f"{len(batches)} batches are valid now." if valid else "\n".join(f"- {problem}" for problem in problems[:_NEWS]),
            over=valid,
        ),
    )


def _check(project: Project, checks: Schema, period: Period) -> Batch:
    import pandas as pd

    try:
        frame = pd.read_parquet(project.root / period.file)
    except Exception as error:
        words = str(error).splitlines()[0] if str(error) else ""
        failures = [_whole("", "readable", f"the file cannot be read: {type(error).__name__}: {words}")]
        rows = 0
    else:
        failures = _own(project, frame, period) or checks.failures(frame)
        rows = len(frame)
    moved = bool(failures) and not _committed(project, period)
    if moved:
        _quarantine(project, period)
    return Batch(period=period.name, path=period.file.as_posix(), rows=rows, failures=failures, quarantined=moved)


def _own(project: Project, frame: pd.DataFrame, period: Period) -> list[Failure]:
    """What the toolkit itself needs of a batch, whatever the schema says."""
    import pandas as pd

    data = project.policy.data
    missing = [_whole(name, "present", f"{name}: the column is missing") for name in (data.time, data.label) if name not in frame.columns]
    if missing:
        return missing
    if frame.empty:
        return [_whole("", "rows", "there are no rows")]
    time = frame[data.time]
    if not pd.api.types.is_datetime64_dtype(time):
        return [_whole(data.time, "time", f"{data.time}: holds {time.dtype}, not times without a zone")]
    outside = time[~time.between(pd.Timestamp(period.start), pd.Timestamp(period.end), inclusive="left")]
    if len(outside):
        return [_some(data.time, f"within {period.name}", len(outside), len(frame), outside.tolist())]
    return []


def _collect(cases: pd.DataFrame, total: int) -> list[Failure]:
    """One failure per column and check, of pandera's one row per failing value."""
    found = []
    across = (cases["schema_context"] == "DataFrameSchema") & cases["index"].notna()
    named = cases.assign(column=cases["column"].where(~across, "").fillna("").astype(str), check=cases["check"].astype(str))
    lacking = bool((cases["check"] == "column_in_dataframe").any())  # then checks across columns only stumble over that
    for key, group in named.groupby(["column", "check"], sort=True):
        column, check = map(str, key)
        values = group["failure_case"].tolist()
        index = group["index"].dropna()
        if check in ("column_in_dataframe", "column_in_schema"):
            what = "the column is missing" if check == "column_in_dataframe" else "the column is not in the schema"
            found += [_whole(str(name), check, f"{name}: {what}") for name in values]
        elif index.empty and not (lacking and group["schema_context"].iloc[0] == "DataFrameSchema"):
            what = f"found {values[0]}" if isinstance(values[0], str) else "the column as a whole"  # False, or 0.0
            found.append(_whole(column, check, f"{column}: {check}: {what}"))
        elif column == "":
            found.append(_some(column, check, index.nunique(), total, []))  # its values are whole rows
        elif len(index):
            found.append(_some(column, check, index.nunique(), total, values))
    return found


def _whole(column: str, check: str, message: str) -> Failure:
    return Failure(column=column, check=check, rows=0, share=0.0, examples=[], message=message)


def _some(column: str, check: str, rows: int, total: int, values: list[Any]) -> Failure:
    import pandas as pd

    share = rows / total
    missing = check == "not_nullable"
    examples = list(dict.fromkeys(str(v) for v in values if not pd.isna(v)))[:_EXAMPLES]  # a missing value is no example
    name = f"{column}: " if missing else f"{column}: {check}: " if column else f"{check}: "
    message = f"{name}{rows:,} of {total:,} rows ({share:.1%})" + (" missing" if missing else "")
    if examples:
        message += f", e.g. {', '.join(examples)}"
    return Failure(column=column, check=check, rows=rows, share=share, examples=examples, message=message)


def _committed(project: Project, period: Period) -> bool:
    from modelyard import git, store

    done = git.attempt("ls-tree", "--name-only", "HEAD", "--", store.pointer(period.file).as_posix(), cwd=project.root)
    return done.returncode == 0 and bool(done.stdout.strip())


def _quarantine(project: Project, period: Period) -> None:
    from modelyard import store

    folder = project.root / QUARANTINE
    folder.mkdir(parents=True, exist_ok=True)
    (project.root / period.file).replace(folder / period.file.name)
    (project.root / store.pointer(period.file)).unlink(missing_ok=True)


def _summary(found: Validation) -> str:
    bad = [b for b in found.batches if b.failures]
    good = [b for b in found.batches if not b.failures]
    count = f"{len(good)} batches" if good else f"there are no batches in {RAW}"
    if bad:
        count = f"{len(bad)} of {len(found.batches)} batches fail"
    lines = [f"**validate: {found.verdict}**, {count}"]
    for batch in bad:
        where = f"moved to {QUARANTINE}; the period stays missing" if batch.quarantined else "already committed, so left in place"
        lines += ["", f"{batch.period} ({batch.rows:,} rows; {where}):", "", *(f"- {f.message}" for f in batch.failures)]
    if found.absent:
        lines += ["", f"Not on this machine, so not checked (`modelyard state pull && dvc pull`): {', '.join(found.absent)}"]
    if good:
        lines += ["", "<details><summary>Valid</summary>", "", *(f"- {b.period}: {b.rows:,} rows" for b in good), "", "</details>"]
    return "\n".join(lines)


@click.command("validate")
def command() -> Outcome:
    """Check the batches against the project's schema; quarantine what fails.

    Each failure is named by column and check, with rows, percentage and a few values. Verdict: valid or invalid (exit code 10).
    """
    return run(find())
