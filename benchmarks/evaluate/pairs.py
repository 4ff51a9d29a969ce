"""Pairs of models and draws of days: what the simulations share."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from typing import Any, TypeVar

import numpy as np
from bank import Bank
from matrices import Answer, answer, check

NEAR = 0.0005  # a pair matches a difference within this
CHECKED = 5  # draws on which the fast way must equal paired.compare
T = TypeVar("T")


def matched(bank: Bank, difference: float, usable: np.ndarray, first: int = 0) -> np.ndarray:
    """(pairs, 2) challenger and champion whose true ROC AUC differ by so much.

    Parameters
    ----------
    usable
        (models, models) which challenger may meet which champion.
    first
        Day from which on the truth is taken.
    """
    truth = bank.truth(first)
    near = np.abs(truth[:, None] - truth[None, :] - difference) < NEAR
    np.fill_diagonal(near, False)
    return np.argwhere(near & usable)


def within(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Pairs in which one model is of the first sort and its rival of the second, either way round."""
    return (one[:, None] & other[None, :]) | (other[:, None] & one[None, :])


def compared(bank: Bank, pair: np.ndarray, days: np.ndarray) -> Answer:
    """Challenger against champion on drawn days; a day that is drawn twice is two days."""
    inside = np.ix_(days, days)
    return answer(bank.wins[pair[0]][inside] - bank.wins[pair[1]][inside], bank.late[days], bank.punctual[days], 1.0)


def rows(bank: Bank, days: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Row numbers of drawn days, and which draw each row belongs to."""
    parts = bank.slices()
    chosen = [np.arange(parts[day].start, parts[day].stop) for day in days]
    return np.concatenate(chosen), np.repeat(np.arange(len(days)), [len(part) for part in chosen])


def confirm(bank: Bank, pair: np.ndarray, days: np.ndarray, said: Answer) -> None:
    """Stop where the rows say otherwise."""
    inside, place = rows(bank, days)
    check(place, bank.label[inside], bank.score[pair[0], inside], bank.score[pair[1], inside], said)


def parallel(work: Callable[[Any], T], jobs: Iterable[Any], processes: int) -> list[T]:
    """Results in order."""
    if processes == 1:
        return [work(job) for job in jobs]
    with ProcessPoolExecutor(processes) as workers:
        return list(workers.map(work, jobs, chunksize=20))
