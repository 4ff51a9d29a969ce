"""How numpy and pyarrow are imported where a table is checked by itself, and has a machine's smallest corner to run in."""

from __future__ import annotations

import os
import sys

_SETTINGS = {
    "OPENBLAS_NUM_THREADS": "1",  # others would only wait, busily, for matrices this small: at twice the cost of the whole check
    "ARROW_DEFAULT_MEMORY_POOL": "system",  # Arrow's own keeps 35 MB more, and is not faster
}


def load() -> None:
    """Import both with settings that they read once; what the environment says otherwise holds, and is left as it was."""
    if {"numpy", "pyarrow"} & set(sys.modules):
        return
    new = {name: value for name, value in _SETTINGS.items() if name not in os.environ}
    os.environ.update(new)
    try:
        import numpy  # noqa: F401
        import pyarrow  # noqa: F401
    finally:
        for name in new:
            del os.environ[name]
