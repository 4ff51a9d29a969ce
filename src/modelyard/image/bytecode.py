"""Run in the image while it is built: compile what a service imports at its start, and nothing else of 200 MB of packages.

Nothing can write bytecode later, since the root is read-only; without it a start takes seconds longer. By hash, since files may get other
times in the image.
"""

import importlib
import importlib.util
import py_compile
import sys

#: BentoML's supervisor and worker, and what they import late; a module that another version lacks is left out.
MODULES = (
    "bentoml_cli.cli",
    "bentoml_cli.serve",
    "_bentoml_impl.server.serving",
    "_bentoml_impl.server.allocator",
    "_bentoml_impl.worker.service",
    "_bentoml_impl.loader",
    "anyio._backends._asyncio",
    "numpy",
    "onnxruntime",
    "prometheus_client.multiprocess",
    "pydantic.dataclasses",
    "starlette.applications",
    "starlette.background",
    "tornado.platform.asyncio",
    "uvicorn.lifespan.on",
    "uvicorn.loops.auto",
    "uvicorn.loops.asyncio",
    "uvicorn.protocols.http.auto",
    "uvicorn.protocols.websockets.auto",
    "uvicorn.protocols.websockets.wsproto_impl",
)


def main() -> None:
    """Import, then compile."""
    for name in MODULES:
        try:
            importlib.import_module(name)
        except ImportError as error:
            print(f"not compiled: {name} ({error})")
    for module in list(sys.modules.values()):
        path = getattr(module, "__file__", None) or ""
        if path.startswith(sys.prefix) and path.endswith(".py"):
            py_compile.compile(path, doraise=True, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)


if __name__ == "__main__":
    main()
