"""The endpoints around one model."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial

import numpy as np
import orjson
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from modelyard.serve import openapi
from modelyard.serve.beside import Beside
from modelyard.serve.fallback import Fallback
from modelyard.serve.guard import HANDLERS, Guard, Intake, Refusal, log_failure
from modelyard.serve.log import Answer, PredictionLog
from modelyard.serve.metrics import MEDIA_TYPE, Metrics
from modelyard.serve.request import Batch, InvalidError, Parser
from modelyard.serve.shadow import Shadow
from modelyard.serve.start import provider

Predict = Callable[[Mapping[str, np.ndarray]], np.ndarray]


class Application:
    """A model, and all that stands around it in one worker."""

    def __init__(self, model: Beside, fallback: Fallback | None, log: PredictionLog | None, shadow: Shadow | None) -> None:
        self._contract = contract = model.contract
        self._log, self._shadow = log, shadow
        self._lost = self._skipped = 0
        self._parser = Parser(contract)
        self._document = openapi.document(contract, self._parser)
        self._intake = Intake(contract.limits)
        self._metrics = Metrics(contract, provider(model))
        info = openapi.ModelInfo(
            name=contract.name, version=contract.version, sha256=contract.sha256, provider=provider(model), role="champion"
        )
        self._predictors: list[tuple[Predict, openapi.ModelInfo]] = [(model, info)]  # asked in this order
        if fallback:
            where = info.provider if fallback.sha256 else ""
            other = {"role": "fallback", "version": fallback.version, "sha256": fallback.sha256, "provider": where}
            self._predictors.append((fallback, info.model_copy(update=other)))

    def asgi(self) -> ASGIApp:
        """The ASGI application."""
        routes = [
            Route("/predict", partial(self._predict, self._parser.rows), methods=["POST"]),
            Route("/predict_columns", partial(self._predict, self._parser.columns), methods=["POST"]),
            Route("/model", self._about),
            *(Route(path, _well) for path in ("/healthz", "/livez", "/readyz")),
            Route("/metrics", self._measured),
            *(Route(path, self._documented) for path in ("/openapi.json", "/docs.json")),  # the latter is BentoML's
        ]
        app = Starlette(routes=routes, exception_handlers=HANDLERS, lifespan=self._life)
        return Guard(app, self._metrics, frozenset(route.path for route in routes))

    async def _predict(self, parse: Callable[[bytes], Batch], request: Request) -> Response:
        body = await self._intake.body(request)
        async with self._intake.turn():
            try:
                batch = parse(body)
            except InvalidError as error:
                raise Refusal(400, "invalid", "The request is not valid", error.faults) from None
            answer, info = self._answered(batch, request.state.request_id)
        self._metrics.answer(batch, answer.predictions, is_fallback=answer.role == "fallback")
        if self._log:
            self._log.put(answer)
        content = orjson.dumps({"predictions": answer.predictions, "model": info.model_dump()}, option=orjson.OPT_SERIALIZE_NUMPY)
        return Response(content, media_type="application/json", background=BackgroundTask(self._afterwards, answer))

    def _answered(self, batch: Batch, request_id: str) -> tuple[Answer, openapi.ModelInfo]:
        """What the model says; where it fails, the fallback.

        Raises
        ------
        Refusal
            None of them can answer.
        """
        for predict, info in self._predictors:
            begun = time.perf_counter()
            try:
                predictions = predict(batch.columns)
            except Exception as error:
                log_failure(f"The {info.role} failed", error, request_id)
                self._metrics.error(f"{info.role}_failed")
                continue
            answer = Answer(
                time=datetime.now(UTC),
                request_id=request_id,
                ids=batch.ids,
                columns=batch.columns,
                predictions=predictions,
                role=info.role,
                version=info.version,
                sha256=info.sha256,
                seconds=time.perf_counter() - begun,
            )
            return answer, info
        raise Refusal(503, "unanswered", "The model failed")

    async def _afterwards(self, answer: Answer) -> None:
        """Once the answer is sent."""
        if self._shadow and answer.role == "champion":
            self._shadow.offer(answer)
        self._count_losses()

    def _count_losses(self) -> None:
        lost = self._log.lost if self._log else 0
        skipped = self._shadow.skipped + self._shadow.failed if self._shadow else 0
        self._metrics.losses(log=lost - self._lost, shadow=skipped - self._skipped)
        self._lost, self._skipped = lost, skipped

    async def _about(self, _: Request) -> Response:
        info = self._predictors[0][1]
        source = self._contract.model_dump(include={"task", "run_id", "commit", "data_revision"})
        return JSONResponse({**info.model_dump(), **source, "variant": os.environ.get("MODELYARD_VARIANT", "")})

    async def _measured(self, _: Request) -> Response:
        self._count_losses()
        return Response(self._metrics.text(), media_type=MEDIA_TYPE)

    async def _documented(self, _: Request) -> Response:
        return JSONResponse(self._document)

    @asynccontextmanager
    async def _life(self, _: Starlette) -> AsyncIterator[None]:
        yield
        if self._shadow:
            self._shadow.close()  # before the log, into which it writes
        if self._log:
            self._log.close()


async def _well(_: Request) -> Response:
    return PlainTextResponse("ok\n")
