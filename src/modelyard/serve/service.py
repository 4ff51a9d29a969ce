"""The service: BentoML packages, starts and supervises it; what answers is a plain ASGI application of this folder.

BentoML's own application stands in the way twice: it logs each bad request with the data that were sent, and its middlewares (tracing,
metrics by raw path) cost more than the model. So its ``Service.to_asgi``, which each worker calls, gives ours instead.
"""

from __future__ import annotations

import atexit
import gc
import inspect
import logging
import os
import signal
import sys
from pathlib import Path
from typing import Any

import bentoml
from _bentoml_sdk import Service as BentoService  # type: ignore[import-untyped]  # what `service_class` of bentoml.service derives from
from starlette.types import ASGIApp

from modelyard.serve import fallback, openapi
from modelyard.serve.application import Application
from modelyard.serve.beside import Load
from modelyard.serve.contract import FILE
from modelyard.serve.guard import logger
from modelyard.serve.log import PredictionLog
from modelyard.serve.request import Parser
from modelyard.serve.shadow import Shadow
from modelyard.serve.start import RefusedError, opened, verified


def make(load: Load) -> Any:
    """The BentoML service around a model.

    Parameters
    ----------
    load
        The project's ``model.load``: opens a file; the result predicts, and names its ``provider``.
    """

    class Service(BentoService):  # type: ignore[misc]
        def to_asgi(self, **_: Any) -> ASGIApp:
            return _application(models(load), load)

        @property
        def openapi_spec(self) -> dict[str, Any]:
            contract = verified(models(load))
            return openapi.document(contract, Parser(contract))

    class Supervised:
        @bentoml.on_deployment  # type: ignore[untyped-decorator]
        @staticmethod
        def check() -> None:
            """Run once, before any worker is started."""
            verified(models(load))
            signal.signal(signal.SIGUSR2, _end)

    return bentoml.service(
        name=load.__module__.partition(".")[0],
        service_class=Service,
        workers=_workers(),
        envs=[{"name": "OMP_NUM_THREADS", "value": "1"}],  # more throughput comes from more workers
    )(Supervised)


def _workers() -> int | str:
    given = os.environ.get("MODELYARD_WORKERS") or "cpu_count"
    if given == "cpu_count":
        return given
    if not given.isdecimal() or int(given) < 1:
        raise RefusedError(f"MODELYARD_WORKERS is {given!r}, and must be a whole number from 1 on, or cpu_count.")
    return int(given)


def models(load: Load) -> Path:
    """The folder of the model: MODELYARD_MODELS, or ``models`` beside the project's package (or beside its ``src``)."""
    if given := os.environ.get("MODELYARD_MODELS"):
        return Path(given).resolve()
    package = Path(inspect.getfile(load)).resolve().parent
    beside, above = package.parent / "models", package.parent.parent / "models"
    return beside if (beside / FILE).exists() else above


def application(folder: Path, load: Load) -> ASGIApp:
    """What serves the model of a folder, with the log and the shadow that the environment names.

    Raises
    ------
    RefusedError
        Something of it is missing or wrong.
    """
    model = opened(folder, load)
    log = shadow = None
    logs, shadows = os.environ.get("MODELYARD_LOG"), os.environ.get("MODELYARD_SHADOW")
    if shadows and not logs:
        raise RefusedError("MODELYARD_SHADOW needs MODELYARD_LOG: what a shadow says goes to the log alone.")
    try:
        instead = fallback.make(model.contract, load, folder)
        if logs:
            log = PredictionLog(Path(logs), model.contract.log, bentoml.server_context.worker_index or 0)
        if log and shadows:
            shadow = Shadow(Path(shadows), load, model.contract.shadow, log)
    except ValueError as error:
        raise RefusedError(str(error)) from None
    return Application(model, instead, log, shadow).asgi()


def _application(folder: Path, load: Load) -> ASGIApp:
    """The same; where a worker must not start, the whole service ends, since its supervisor would start it again and again."""
    is_worker = bentoml.server_context.worker_index is not None
    try:
        made = application(folder, load)
    except Exception as error:
        if not is_worker:
            raise
        logger.error("refused to start: %s", error if isinstance(error, RefusedError) else repr(error))
        os.kill(os.getppid(), signal.SIGUSR2)
        sys.exit(1)
    logging.getLogger("uvicorn.access").propagate = False  # it finds no handler then, and writes no line for each request
    if is_worker:
        gc.collect()
        gc.freeze()  # what was imported stays: looking through it for garbage would hold up a request now and then
    return made


def _end(*_: object) -> None:
    """In the supervisor, when a worker refuses to start: stop all others, and end with 1."""
    atexit.register(os._exit, 1)
    os.kill(os.getpid(), signal.SIGTERM)
