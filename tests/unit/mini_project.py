"""A project in a few lines, made by code: one number that decides, one category, one column with gaps.

``load(start, end)`` draws each day from a generator of its own, so any window of any year has the same rows each time;
``fault`` spoils what it returns from then on.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
from datetime import datetime
from pathlib import Path
from typing import Any

from modelyard import champion, dataset, policy, release
from modelyard.project import MODEL, PROFILE, RAW, Project, load_object

DATA = """
import json
from pathlib import Path
import numpy as np
import pandas as pd

FAULT = Path(__file__).parents[2] / "fault.json"

def load(start, end):
    fault = json.loads(FAULT.read_text()) if FAULT.exists() else {}
    if "raises" in fault:
        raise RuntimeError(fault["raises"])
    days = pd.date_range(start, end, freq="D", inclusive="left")
    frame = pd.concat([_day(day, fault.get("share", 1.0)) for day in days], ignore_index=True)
    frame["x"] += fault.get("shift", 0.0)
    if fault.get("unlabelled"):
        frame["late"] = np.nan
    if fault.get("flip"):
        frame["late"] = 1 - frame["late"]
    frame.loc[frame.index < fault.get("missing", 0.0) * len(frame), "gap"] = np.nan
    return frame.drop(columns=fault.get("drop", []))

def _day(day, share):
    draw = np.random.default_rng(day.toordinal())
    n = int(ROWS * share)
    x = draw.normal(size=n)
    gap = draw.uniform(0, 1, n)
    gap[:1] = np.nan
    logit = 2 * x + draw.normal(0, 0.3)
    late = (draw.uniform(size=n) < 1 / (1 + np.exp(-logit))).astype(float) if BINARY else logit + draw.normal(size=n)
    serial = day.toordinal() * 1000 + np.arange(n)
    return pd.DataFrame({"time": day + pd.to_timedelta(np.arange(n), "min"), "x": x, "gap": gap,
                         "group": draw.choice(["a", "b", "c"], n), "serial": serial, "late": late})
"""

SCHEMA = """
import pandas as pd
import pandera.pandas as pa

class Batch(pa.DataFrameModel):
    time: pd.Timestamp = pa.Field(coerce=True)
    x: float = pa.Field(in_range={"min_value": -8, "max_value": 8})
    gap: float = pa.Field(in_range={"min_value": 0, "max_value": 1}, nullable=True)
    group: str = pa.Field(isin=["a", "b", "c"])
    serial: int
    late: float = pa.Field(nullable=True)

    @pa.dataframe_check
    def gap_fits_group(cls, frame):
        return (frame["group"] != "a") | (frame["gap"].fillna(0) <= 1)

    class Config:
        strict = True
"""

LOADER = """
import json
import numpy as np

class Model:
    def __init__(self, slope, noise):
        self.slope, self.noise = slope, noise

    def predict(self, batch):
        x = np.asarray(batch["x"], dtype=float)
        z = self.slope * x + self.noise * np.sin(1000 * x)
        return 1 / (1 + np.exp(-z)) if BINARY else z

def load(path):
    return Model(**json.loads(path.read_text()))
"""


def make(
    root: Path, *, task: str = "binary", periods: tuple[str, ...] = ("2013-01", "2013-02"), rows: int = 40, **settings: Any
) -> Project:
    """A project at ``root`` with data on disk and a fair model, in a git repository without commits.

    Parameters
    ----------
    settings
        Sections of the policy, laid over the usual ones: ``evaluate={"criteria": {...}}``.
    """
    package = "mini_" + hashlib.sha256(str(root).encode()).hexdigest()[:12]  # Python imports a name only once
    source = root / "src" / package
    source.mkdir(parents=True)
    head = f"BINARY = {task == 'binary'}\nROWS = {rows}\n"
    for name, text in {"__init__": "", "data": head + DATA, "schema": SCHEMA, "model": head + LOADER}.items():
        (source / f"{name}.py").write_text(text)
    usual = {
        "name": "mini",
        "package": package,
        "task": task,
        "data": {"start": "2013-01-01", "period": "month", "time": "time", "label": "late"},
        "evaluate": {"metric": "roc_auc" if task == "binary" else "mae", "replicates": 200},
    }
    for section, content in settings.items():
        usual[section] = {**usual.get(section, {}), **content}  # type: ignore[dict-item]
    (root / policy.FILE).write_text(json.dumps(usual))
    subprocess.run(["git", "init", "--quiet"], cwd=root, check=True)
    project = Project(root, policy.load(root))
    (root / RAW).mkdir(parents=True)
    for name in periods:
        period = dataset.named(project.policy.data, name)
        load_object(project, "data", "load")(period.start, period.end).to_parquet(root / period.file)
    model(root)
    return project


def model(root: Path, *, slope: float = 2.0, noise: float = 0.0) -> Path:
    """Write ``models/model.onnx``; noise makes it worse."""
    path = root / MODEL
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"slope": slope, "noise": noise}))
    return path


def fault(root: Path, **what: Any) -> None:
    """Spoil what ``load()`` returns: shift, share (of rows), missing (share of gap), unlabelled, flip, drop (columns), raises."""
    (root / "fault.json").write_text(json.dumps(what))


def released(
    project: Project, *, noise: float = 0.0, value: float = 0.88, logical_date: str = "2013-03-01T00:00:00+00:00"
) -> champion.Champion:
    """A champion of the project's own code, beside whatever model the project has now; its profile is the project's."""
    folder = project.root / ".modelyard" / "champion"
    folder.mkdir(parents=True, exist_ok=True)
    path = model(folder, noise=noise)
    code = folder / "src" / project.policy.package
    code.mkdir(parents=True, exist_ok=True)
    for file in (project.source / project.policy.package).glob("*.py"):
        (code / file.name).write_bytes(file.read_bytes())
    if (project.root / PROFILE).exists():
        (folder / PROFILE).write_bytes((project.root / PROFILE).read_bytes())
    record = release.Release(
        model=release.Model(name="mini", version="7", run_id="r", path=MODEL.as_posix(), sha256=release.sha256(path)),
        evaluation=release.Evaluation(
            sha256="0" * 64,
            verdict="promote",
            metric=project.policy.evaluate.metric,
            challenger=value,
            champion=None,
            lower=None,
            holdout=(datetime(2013, 2, 8), datetime(2013, 3, 1)),
        ),
        data=[],
        code=release.Code(commit="0" * 40, dvc_lock="0" * 64, uv_lock=None),
        logical_date=datetime.fromisoformat(logical_date),
        trigger="test",
        risk="medium",
    )
    return champion.Champion(record, project, folder)
