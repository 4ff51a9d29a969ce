"""What must hold before anything is served: files, hashes, the model's fit to its contract, the device."""

from __future__ import annotations

import os
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from bentoml.exceptions import BentoMLException

from modelyard.serve import contract as contracts
from modelyard.serve.beside import Beside, Load
from modelyard.serve.contract import FILE, MODEL, Column, Contract
from modelyard.serve.request import array


class RefusedError(BentoMLException):  # type: ignore[misc]
    """A service must not start as it is. BentoML's command line tells why, in one line, and ends with 1."""


def verified(folder: Path) -> Contract:
    """The contract of a folder, whose model is the one that it names, and that the deployment names.

    Raises
    ------
    RefusedError
        It is not.
    """
    if not (folder / FILE).exists():
        raise RefusedError(f"{folder / FILE} is missing. Run `modelyard package`, which makes it.")
    try:
        found = contracts.verified(folder)
    except ValueError as error:
        raise RefusedError(f"{error} In a project, `modelyard package` writes it anew.") from None
    wanted = os.environ.get("MODELYARD_SHA256") or found.sha256
    if found.sha256 != wanted:
        raise RefusedError(f"{folder / MODEL} is {found.sha256[:12]}, and MODELYARD_SHA256 names {wanted[:12]}.")
    return found


def opened(folder: Path, load: Load) -> Beside:
    """The model, tried with rows made from its contract.

    Raises
    ------
    RefusedError
        It is not the one that is named, cannot be opened, does not read what the contract holds, takes too long for as many rows as a
        request may hold, or computes elsewhere than the image promises.
    """
    contract = verified(folder)
    try:
        model = Beside(contract, load(folder / MODEL))
    except Exception as error:
        raise RefusedError(f"{folder / MODEL} cannot be opened: {type(error).__name__}: {error}") from None
    variant, is_cpu_allowed = os.environ.get("MODELYARD_VARIANT"), os.environ.get("MODELYARD_ALLOW_CPU") == "1"
    if variant == "gpu" and provider(model) == "CPUExecutionProvider" and not is_cpu_allowed:
        raise RefusedError("This is the gpu image, and its model runs on the CPU. Give it a GPU, or allow that by MODELYARD_ALLOW_CPU=1.")
    _try(model, 1)
    limits = contract.limits
    if (seconds := _try(model, limits.rows)) > limits.seconds:
        raise RefusedError(
            f"{limits.rows} rows take {seconds:.1f} s here, and serving.limits.seconds is {limits.seconds:g}: allow less rows."
        )
    return model


def provider(model: Beside) -> str:
    """What computes the model, as it says itself."""
    return str(getattr(model.model, "provider", "unknown"))


def _try(model: Beside, rows: int) -> float:
    """Seconds that it takes."""
    columns = {column.name: array(column, [_some(column, row) for row in range(rows)]) for column in model.contract.columns}
    begun = time.perf_counter()
    try:
        found = np.asarray(model.model.predict(columns))  # of made rows it need not be finite
    except KeyError as error:
        raise RefusedError(f"The model reads a column that {FILE} does not hold: {error}.") from None
    except Exception as error:
        raise RefusedError(f"The model fails on rows made from {FILE}: {type(error).__name__}: {error}") from None
    if found.shape != (rows,) or found.dtype.kind not in "fiu":
        raise RefusedError(f"The model gives {found.dtype} of shape {found.shape} for {rows} rows, not one number a row.")
    return time.perf_counter() - begun


def _some(column: Column, row: int) -> Any:
    """A value that the column accepts (of a pattern, something near it); null in every other row, where it may be."""
    if column.nullable and row % 2:
        return None
    if column.kind == "time":
        return datetime(2000, 1, 1)
    if column.kind == "text":
        return column.values[0] if column.values else "A"
    low = column.minimum if column.minimum is not None else column.above
    high = column.maximum if column.maximum is not None else column.below
    known = [bound for bound in (low, high) if bound is not None]
    return sum(known) / len(known) if known else 1
