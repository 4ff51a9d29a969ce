"""The same data split at random, by number: split 7 of 5,000 to 500 is the same for every tool and in every run."""

from __future__ import annotations

import numpy as np

SIZES = ((500, 500), (5_000, 5_000), (50_000, 5_000), (100_000, 20_000))


def split(rows: int, reference: int, current: int, number: int) -> tuple[np.ndarray, np.ndarray]:
    """Row numbers of a reference and of a current table without a common row."""
    drawn = np.random.default_rng([reference, current, number]).choice(rows, reference + current, replace=False)
    return drawn[:reference], drawn[reference:]
