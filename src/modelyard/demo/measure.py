"""What the loop gained: each flight scored by the model that was live when it was scheduled, against the first model, frozen."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import datetime

from modelyard import champion, dataset, state
from modelyard.demo.stage import Yard
from modelyard.demo.story import Tale
from modelyard.evaluate import metrics


@dataclass(frozen=True)
class Month:
    """One month's figures, in the policy's deciding metric."""

    month: datetime
    rows: int
    loop: float
    frozen: float


def months(yard: Yard, tale: Tale) -> list[Month]:
    """The loop's and the frozen model's metric for each whole month after the first release."""
    import numpy as np

    os.environ["FLIGHTS_SOURCE"] = str(yard.upstream)
    state.pull(yard.root)
    policy = yard.project.policy
    models = {live.commit: champion.load(yard.project, live.commit) for live in tale.lives}
    figures = []
    for month in sorted({chapter.month for chapter in tale.chapters if chapter.month >= datetime(2013, 4, 1)}):
        end = dataset.named(policy.data, f"{month:%Y-%m}").end
        frame = dataset.load(yard.project, month, end)
        frame = frame[frame[policy.data.label].notna()].reset_index(drop=True)
        label, time = frame[policy.data.label].to_numpy(dtype=float), frame[policy.data.time]
        loop = np.full(len(frame), np.nan)
        for live in tale.lives:  # in the order of time, so that the latest one stays
            rows = (time >= live.since).to_numpy()
            model = models[live.commit]
            if rows.any() and model is not None:
                loop[rows] = model.predict(frame[rows])
        first = models[tale.lives[0].commit]
        assert first is not None  # noqa: S101 - a release made it live
        scored = ~np.isnan(loop)  # not the hours of 1 April before anything was live
        frozen = first.predict(frame[scored])
        gained = [metrics.compute(policy.task, label[scored], score)[policy.evaluate.metric] for score in (loop[scored], frozen)]
        figures.append(Month(month, len(frame), *gained))
    return figures
