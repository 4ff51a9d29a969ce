"""Flights as a stream of days, and the template's own recipe on it: each model is trained once, and kept."""

from __future__ import annotations

import importlib
import sys
import tempfile
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import yaml
from jinja2 import Environment

from modelyard import export

WEEK = 7
PACKAGE = "flights_recipe"
SKELETON = Path(__file__).resolve().parents[3] / "{{cookiecutter.project_slug}}"

#: A model is named by the weeks that it was trained on: first, and first one that it has not seen.
Model = tuple[int, int]


@cache
def recipe() -> SimpleNamespace:
    """The template's data, features and training, rendered for a binary task and trees, as a project would get them."""
    answers = {"task": "binary", "estimator": "trees", "package": PACKAGE, "project_slug": "flights", "__label": "late"}
    render = Environment(autoescape=False, keep_trailing_newline=True).from_string
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / PACKAGE
        folder.mkdir()
        (folder / "__init__.py").touch()
        for file in ("data", "features", "train"):
            source = SKELETON / "src" / "{{cookiecutter.package}}" / f"{file}.py"
            (folder / f"{file}.py").write_text(render(source.read_text()).render(cookiecutter=answers))
        sys.path.insert(0, name)
        modules = {file: importlib.import_module(f"{PACKAGE}.{file}") for file in ("data", "features", "train")}
        sys.path.remove(name)
    params = yaml.safe_load(render((SKELETON / "params.yaml").read_text()).render(cookiecutter=answers))["train"]
    return SimpleNamespace(params=params, **modules)


@cache
def flights() -> pd.DataFrame:
    """2013's flights whose label is known, with the day of the year (0 ...)."""
    data = recipe().data
    frame = data.load(pd.Timestamp(2013, 1, 1), pd.Timestamp(2014, 1, 1))
    frame = frame[frame[data.LABEL].notna()].reset_index(drop=True)
    return frame.assign(day=(frame[data.TIME] - pd.Timestamp(2013, 1, 1)).dt.days)


@dataclass
class Stream:
    """Rows in order of day, and the models that a project could have had at the start of each week.

    Parameters
    ----------
    day, label
        (n,) each; days 0, 1, ... and 0 or 1.
    inputs
        Feature -> (n,), as the recipe's pipeline takes them.
    """

    day: np.ndarray
    label: np.ndarray
    inputs: dict[str, np.ndarray]
    models: dict[Model, object] = field(default_factory=dict)
    known: dict[tuple[Model, int], np.ndarray] = field(default_factory=dict)

    @property
    def weeks(self) -> int:
        """Whole weeks."""
        return int(self.day.max() + 1) // WEEK

    def rows(self, start: int, end: int) -> slice:
        """Rows of the weeks start ... end - 1."""
        first, last = np.searchsorted(self.day, [start * WEEK, end * WEEK])
        return slice(int(first), int(last))

    def scores(self, model: Model, start: int, end: int) -> np.ndarray:
        """What the model says in the weeks start ... end - 1."""
        return np.concatenate([self._week(model, week) for week in range(start, end)])

    def _week(self, model: Model, week: int) -> np.ndarray:
        if (model, week) not in self.known:
            if model not in self.models:
                seen = self.rows(*model)
                inputs = {name: values[seen] for name, values in self.inputs.items()}
                self.models[model] = export.fit(recipe().train.build(recipe().params), inputs, self.label[seen])
            rows = self.rows(week, week + 1)
            frame = pd.DataFrame({name: values[rows] for name, values in self.inputs.items()})
            self.known[model, week] = self.models[model].predict_proba(frame)[:, 1]
        return self.known[model, week]


def make(order: np.ndarray, *, share: float = 1.0, seed: int = 0) -> Stream:
    """A stream of days of the year.

    Parameters
    ----------
    order
        Days of the year, none twice, in the order of the stream.
    share
        Of the rows, drawn at random.
    """
    frame = flights()
    if share < 1:
        frame = frame.sample(frac=share, random_state=seed).sort_index()
    place = np.full(366, -1)
    place[order] = np.arange(len(order))
    frame = frame.assign(day=place[frame["day"].to_numpy()])
    frame = frame[frame["day"] >= 0].sort_values("day", kind="stable").reset_index(drop=True)
    return Stream(frame["day"].to_numpy(), frame[recipe().data.LABEL].to_numpy(), recipe().features.features(frame))


def plant(stream: Stream, week: int, share: float, seed: int = 0) -> Stream:
    """From ``week`` on, a share of each day's flights takes the labels of the same flights in reverse order of departure.

    Features and the day's number of late flights stay exactly as they were, so nothing that looks at columns or at the share of
    late flights can see it: only what the features say of the label has changed. At a share of 1 mornings are late instead of
    evenings; at 0.5 the hour says nothing any more.
    """
    draw = np.random.default_rng(seed)
    label = stream.label.copy()
    for day in range(week * WEEK, int(stream.day.max()) + 1):
        rows = np.arange(*np.searchsorted(stream.day, [day, day + 1]))
        chosen = rows[draw.uniform(size=len(rows)) < share]  # rows of a day are in order of departure
        label[chosen] = label[chosen[::-1]]
    return Stream(stream.day, label, stream.inputs)
