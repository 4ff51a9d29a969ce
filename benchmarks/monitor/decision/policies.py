"""When to train anew: rules that look, at the start of each week, at the weeks before."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from sklearn.metrics import roc_auc_score
from stream import Model, Stream

from modelyard.evaluate import paired
from modelyard.monitor import performance
from modelyard.monitor.report import Decay

WINDOW = 4  # weeks that monitor looks at: window_days 28
COOL = 2  # weeks without another training: cooldown_days 14
LIMIT = 0.01  # of our rule
REAL = 0.02  # what the benchmark calls decay


@dataclass
class World:
    """A stream, and all that was ever asked of it.

    Parameters
    ----------
    kept_out
        Latest weeks that a model which goes live has not seen: the hold-out.
    """

    stream: Stream
    kept_out: int = 0
    aucs: dict[tuple[Model, int], float] = field(default_factory=dict)
    found: dict[tuple[Model, int], tuple[Decay | None, Decay | None]] = field(default_factory=dict)

    def live(self, week: int) -> Model:
        """The model that goes live where one is trained at the start of ``week``."""
        return (0, week - self.kept_out)

    def auc(self, model: Model, week: int) -> float:
        """ROC AUC of the model in one week."""
        if (model, week) not in self.aucs:
            label = self.stream.label[self.stream.rows(week, week + 1)]
            self.aucs[model, week] = float(roc_auc_score(label, self.stream.scores(model, week, week + 1)))
        return self.aucs[model, week]

    def gain(self, fresh: Model, live: Model, start: int, end: int) -> Decay | None:
        """What monitor says of the two on the weeks start ... end - 1."""
        inside = self.stream.rows(start, end)
        time = np.datetime64("2013-01-01", "D") + self.stream.day[inside]
        rows = performance.Rows(time, self.stream.label[inside], self.stream.scores(live, start, end))
        return performance.decay("roc_auc", True, rows, self.stream.scores(fresh, start, end), LIMIT)[0]

    def decay(self, live: Model, week: int) -> tuple[Decay | None, Decay | None]:
        """The two answers of monitor at the start of ``week``: of a shadow on all rows, and of one on the latest alone."""
        if (live, week) not in self.found:
            start, middle = max(week - WINDOW, live[1]), week - WINDOW // 2
            fresh = self.gain((0, start), live, start, week) if start > live[1] else None  # else the same model
            recent = self.gain((middle - WINDOW // 2, middle), live, middle, week) if middle >= max(live[1], WINDOW // 2) else None
            self.found[live, week] = fresh, recent
        return self.found[live, week]

    def real(self, live: Model, week: int) -> str:
        """Whether the model has really decayed: gain of one trained each week, over the trailing four, ROC AUC of all rows."""
        start = max(week - WINDOW, live[1])
        inside = self.stream.rows(start, week)
        day, label = self.stream.day[inside], self.stream.label[inside]
        fresh = np.concatenate([self.stream.scores((0, each), each, each + 1) for each in range(start, week)])
        found = paired.compare("roc_auc", True, day, label, fresh, self.stream.scores(live, start, week), paired.TWO_SIDED)
        if found.difference >= REAL and found.lower > 0:
            return "yes"
        return "no" if found.upper < REAL else "undetermined"


@dataclass(frozen=True)
class Look:
    """The start of a week: what lies behind may be asked of the world."""

    world: World
    live: Model
    week: int
    last: int  # week of the last training

    @property
    def age(self) -> int:
        """Weeks since the last training."""
        return self.week - self.last


#: Whether to train now.
Rule = Callable[[Look], bool]


def never(_: Look) -> bool:
    return False


def every(weeks: int) -> Rule:
    return lambda look: look.age >= weeks


def at(weeks: frozenset[int]) -> Rule:
    return lambda look: look.week in weeks


def below_level(look: Look) -> bool:
    """Last week's AUC is 0.02 under the level at release: the mean of the three weeks before, by a model that had not seen them."""
    before = (0, look.last - 3)
    level = np.mean([look.world.auc(before, each) for each in range(look.last - 3, look.last)])
    return look.age >= COOL and look.world.auc(look.live, look.week - 1) < level - 0.02


def ours(look: Look) -> bool:
    """Monitor's decay, as :mod:`modelyard.monitor.performance` judges it, with its cool-down."""
    if look.age < COOL:
        return False
    found = performance.strongest(*look.world.decay(look.live, look.week))
    return found is not None and found.found == "yes"


@dataclass(frozen=True)
class Course:
    """What a rule made of a stream."""

    live: tuple[Model, ...]  # per week
    trained: tuple[int, ...]  # weeks
    aucs: tuple[float, ...]  # per week


def follow(world: World, rule: Rule, start: int, end: int, *, score: bool = True) -> Course:
    """The weeks start ... end - 1, with a model trained at the start."""
    last, live, trained, lives, aucs = start, world.live(start), [], [], []
    for week in range(start, end):
        if week > start and rule(Look(world, live, week, last)):
            last, live = week, world.live(week)
            trained.append(week)
        lives.append(live)
        if score:
            aucs.append(world.auc(live, week))
    return Course(tuple(lives), tuple(trained), tuple(aucs))
