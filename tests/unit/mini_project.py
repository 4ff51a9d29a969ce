"""A project in a few lines, made by code: one number that decides, one category, one column with gaps.

``load(start, end)`` draws each day from a generator of its own, so any window of any year has the same rows each time;
``fault`` spoils what it returns from then on.
"""

from __future__ import annotations

import hashlib
import json
import math
import subprocess
from datetime import datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from modelyard import champion, dataset, git, policy, release
from modelyard.project import EXAMPLES, MODEL, PROFILE, RAW, Project, load_object

DATA = """
import json
from pathlib import Path
import numpy as np
import pandas as pd

FAULT = Path(__file__).parents[2] / "fault.json"

def load(start, end):
    fault = json.loads(FAULT.read_text()) if FAULT.exists() else {}
    if "raises" in fault and f"{start}" < fault.get("before", "9"):
        raise RuntimeError(fault["raises"])
    days = pd.date_range(start, end, freq="D", inclusive="left")
    frame = pd.concat([_day(day, fault.get("share", 1.0)) for day in days], ignore_index=True)
    frame["x"] += fault.get("shift", 0.0)
    if fault.get("unlabelled"):
        frame["late"] = np.nan
    if "flip" in fault:
        frame.loc[frame["time"] >= fault["flip"], "late"] = 1 - frame["late"]
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

# Standard library only: each training is a process of its own.
TRAIN = """
import json
import math
import sys
from importlib import metadata
from pathlib import Path

noise = float(Path("params.yaml").read_text().split()[-1])
if noise < 0:
    sys.exit("noise cannot be negative")
print("::error::said by the stage")
versions = {name: metadata.version(name) for name in ("numpy", "onnxruntime")}
predictions = [1 / (1 + math.exp(-(2.0 * x + noise * math.sin(1000 * x)))) for x in (-1.0, 0.25, 2.0)]
for path, content in {
    "models/model.onnx": {"slope": 2.0, "noise": noise},
    "models/examples.json": {"rows": [{"x": x} for x in (-1.0, 0.25, 2.0)], "predictions": predictions, "versions": versions},
    "models/profile.parquet": {},
    "reports/train.json": {"loss": 0.5, "rows": 3},
}.items():
    Path(path).parent.mkdir(exist_ok=True)
    Path(path).write_text(json.dumps(content))
"""

#: Learns one thing of the rows before the hold-out: on which side of x the late ones lie.
RECIPE = """
import json
from pathlib import Path
from modelyard import dataset, project

rows = dataset.split(project.find()).train
slope = 2.0 if rows["x"].corr(rows["late"]) > 0 else -2.0
Path("models").mkdir(exist_ok=True)
Path("models/model.onnx").write_text(json.dumps({"slope": slope, "noise": 0.0}))
"""

PIPELINE = """
stages:
  train:
    cmd: python src/PACKAGE/train.py
    deps: [data/raw, src/PACKAGE/train.py, src/PACKAGE/model.py]
    params: [noise]
    outs: [models/model.onnx, models/examples.json, models/profile.parquet]
    metrics: [reports/train.json]
"""

SERVICE = """
from modelyard.serve import service

from PACKAGE import model

Service = service.make(model.load)
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
        "evaluate": {"metric": "roc_auc" if task == "binary" else "mae"},
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
    rows = [{"x": x} for x in (-1.0, 0.25, 2.0)]
    said = [slope * row["x"] + noise * math.sin(1000 * row["x"]) for row in rows]
    if json.loads((root / policy.FILE).read_text())["task"] == "binary" if (root / policy.FILE).exists() else True:
        said = [1 / (1 + math.exp(-value)) for value in said]
    versions = {name: metadata.version(name) for name in ("numpy", "onnxruntime")}
    (root / EXAMPLES).write_text(json.dumps({"rows": rows, "predictions": said, "versions": versions}))
    return path


def fault(root: Path, **what: Any) -> None:
    """Spoil what ``load()`` returns: shift, share (of rows), missing (share of gap), unlabelled, flip (from that day on), drop (columns).

    With ``raises`` it fails, with these words; with ``before``, only for days before.
    """
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
        risk="moderate",
    )
    return champion.Champion(record, project, folder)


def with_recipe(live: champion.Champion) -> champion.Champion:
    """The same champion, of a commit that holds a pipeline whose stage ``train`` runs the recipe."""
    source = live.folder / "src" / live.project.policy.package
    (source / "train.py").write_text(RECIPE)
    (live.folder / policy.FILE).write_bytes((live.project.root / policy.FILE).read_bytes())
    (live.folder / "params.yaml").write_text("noise: 0.0\n")
    (live.folder / "dvc.yaml").write_text(PIPELINE.replace("PACKAGE", live.project.policy.package))
    return live


def yard(folder: Path, **settings: Any) -> Project:
    """A project with DVC, a pipeline that takes no time and a service, pushed to the bare ``origin.git`` beside it; no data yet."""
    root = folder / "project"
    project = make(root, periods=(), **settings)
    (root / MODEL).unlink()
    package = project.policy.package
    files = {
        ".dvc/config": "[core]\n    analytics = false\n    remote = state\n['remote \"state\"']\n    url = ../.modelyard/state/dvc\n",
        ".gitignore": "/.modelyard/\n/reports/\n__pycache__/\n",
        "data/raw/.gitignore": "/*.parquet\n",
        "models/.gitignore": "*\n!.gitignore\n",
        "dvc.yaml": PIPELINE.replace("PACKAGE", package),
        "params.yaml": "noise: 2.0\n",
        f"src/{package}/train.py": TRAIN,
        f"src/{package}/service.py": SERVICE.replace("PACKAGE", package),
    }
    for name, text in files.items():
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text(text)
    git.run("init", "--quiet", "--bare", "--initial-branch=main", str(folder / "origin.git"), cwd=folder)
    git.run("remote", "add", "origin", "../origin.git", cwd=root)
    commit(root, "Begin")
    return project


def commit(root: Path, message: str) -> str:
    """Commit all that changed, and push it to main."""
    git.run("add", "--all", cwd=root)
    git.run("commit", "--quiet", "-m", message, cwd=root)
    git.run("push", "--quiet", "origin", "HEAD:main", cwd=root)
    return git.head(root)


def merge(root: Path) -> str:
    """Approve the release pull request, as a person does: by a merge commit on main."""
    for pointer in (root / RAW).glob("*.dvc"):
        pointer.unlink()  # not committed here, but in the release
    (root / "dvc.lock").unlink(missing_ok=True)
    git.run("checkout", "--quiet", "--", ".", cwd=root)
    git.run("fetch", "--quiet", "origin", cwd=root)
    git.run("merge", "--quiet", "--no-ff", "-m", "Merge the release", "origin/modelyard/release", cwd=root)
    git.run("push", "--quiet", "origin", "HEAD:main", cwd=root)
    return git.head(root)


def protect(origin: Path, branch: str = "main") -> None:
    """Let the origin refuse pushes to a branch, as a protection rule does."""
    hook = origin / "hooks/pre-receive"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\nwhile read old new ref; do [ $ref != refs/heads/{branch} ] || {{ echo protected; exit 1; }}; done\n")
    hook.chmod(0o755)
