"""Work on the parts of a table and the sum of its results: in this process, or on the workers of a Dask cluster.

Both engines cut the table alike and add in the same order (neighbours first, then pairs of pairs), so their results are equal. ::

    with engine.started("dask") as fold:
        survey = fold(source, survey_part, operator.add)
        counts = fold(source, partial(count_part, layout), operator.add)
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar

from modelyard.console import say
from modelyard.errors import UsageError
from modelyard.monitor.table import Source

if TYPE_CHECKING:
    from distributed import Client

Engine = Literal["local", "dask"]
T = TypeVar("T")
Add = Callable[[T, T], T]

ADDRESS = "DASK_SCHEDULER_ADDRESS"
_KEEP_MEMORY = {  # Dask has its workers give each array back to the system at once, which costs a quarter of their time here
    "distributed.nanny.pre-spawn-environ.MALLOC_TRIM_THRESHOLD_": 1 << 28,
    "distributed.nanny.pre-spawn-environ.MALLOC_MMAP_THRESHOLD_": 1 << 25,
}
_PATIENCE = 20  # seconds until a scheduler must have answered


class Fold(Protocol):
    """``fold(source, work, add)``: the sum, by ``add``, of ``work(part)`` over the parts of ``source``."""

    def __call__(self, source: Source, work: Callable[[Source], T], add: Add[T]) -> T:
        """Give the sum."""


def fold(source: Source, work: Callable[[Source], T], add: Add[T], engine: Engine = "local") -> T:
    """Apply ``work`` to each part of ``source`` and add the results up.

    Parameters
    ----------
    work
        Takes a part, which is a :class:`~modelyard.monitor.table.Source` too; with Dask it is sent to another process, as are results.
    add
        Adds two results of neighbouring parts.
    engine
        ``local``: one part after another, in this process. ``dask``: on the cluster that ``DASK_SCHEDULER_ADDRESS`` names, else
        on as many processes of this machine as it has cores; files must lie where the workers find them under the same name.

    Raises
    ------
    UsageError
        Dask is not installed, its scheduler does not answer, or its workers cannot import this toolkit.
    DataError
        What ``work`` raises for the part that it cannot read.
    """
    with started(engine) as run:
        return run(source, work, add)


@contextmanager
def started(engine: Engine = "local") -> Iterator[Fold]:
    """Start an engine for several folds, since a cluster takes seconds to start; see :func:`fold`."""
    if engine == "local":
        yield _local
        return
    with _connected() as client:

        def run(source: Source, work: Callable[[Source], T], add: Add[T]) -> T:
            return _on_cluster(client, source, work, add)

        yield run


def tree_sum(results: Iterator[T], add: Add[T]) -> T:
    """Add neighbours, then pairs, then pairs of pairs, holding no more than the logarithm of their number at once."""
    held: list[tuple[int, T]] = []  # height of the tree under it, and its sum
    for result in results:
        height, total = 0, result
        while held and held[-1][0] == height:
            total = add(held.pop()[1], total)
            height += 1
        held.append((height, total))
    total = held.pop()[1]
    while held:
        total = add(held.pop()[1], total)
    return total


def _local(source: Source, work: Callable[[Source], T], add: Add[T]) -> T:
    parts = source.parts()

    def results() -> Iterator[T]:
        for done, part in enumerate(parts, 1):
            yield work(part)
            _tell(source, done, len(parts))

    return tree_sum(results(), add)


def _on_cluster(client: Client, source: Source, work: Callable[[Source], T], add: Add[T]) -> T:
    from distributed import as_completed

    parts = [part.anywhere() for part in source.parts()]  # workers have working folders of their own
    leaves = client.map(_leaf, parts, work=work, pure=False)

    def added(one: Any, other: Any) -> Any:
        return client.submit(_joined, one, other, add=add, pure=False)

    total = tree_sum(iter(leaves), added)
    try:
        workers: Counter[str] = Counter()
        finished = as_completed(leaves, loop=client.loop)
        del leaves  # so that workers may forget a part once it is added
        for done, leaf in enumerate(finished, 1):
            if leaf.status != "finished":
                leaf.result()  # raises what the work raised
            _tell(source, done, len(parts))
        result, workers = total.result()
    finally:
        total.cancel()
    if len(parts) > 1:
        shares = ", ".join(f"{name}: {count}" for name, count in sorted(workers.items()))
        say(f"{source.name}: {len(parts)} parts on {len(workers)} workers ({shares})")
    answer: T = result
    return answer


def _leaf(part: Source, work: Callable[[Source], T]) -> tuple[T, Counter[str]]:
    """Run on a worker: the result, and who made it."""
    from distributed import get_worker

    return work(part), Counter([str(get_worker().name)])


def _joined(one: tuple[T, Counter[str]], other: tuple[T, Counter[str]], add: Add[T]) -> tuple[T, Counter[str]]:
    return add(one[0], other[0]), one[1] + other[1]


def _tell(source: Source, done: int, total: int) -> None:
    """Say about ten times how far it is; nothing of a table of few parts."""
    if total >= 10 and done * 10 // total > (done - 1) * 10 // total:
        say(f"{source.name}: {done} of {total} parts")


@contextmanager
def _connected() -> Iterator[Client]:
    """Connect to the cluster that the environment names, or start one of processes on this machine."""
    try:
        import dask
        from distributed import Client, LocalCluster
    except ImportError as error:
        raise UsageError("--engine dask needs Dask, which is not installed.", "Run: pip install 'modelyard[dask]'") from error
    if address := os.environ.get(ADDRESS):
        _reach(address)
        with Client(address, timeout=_PATIENCE, set_as_default=False) as client:
            _compare(client, address)
            yield client
        return
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    say(f"Dask: {count} processes on this machine")
    with (
        dask.config.set(_KEEP_MEMORY),
        LocalCluster(n_workers=count, threads_per_worker=1, processes=True, dashboard_address=None, silence_logs=50) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        yield client


def _reach(address: str) -> None:
    """Knock before Dask does: its client tries for long, and says much, where nobody answers."""
    import socket
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(address)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host or not port:
        raise UsageError(f"{ADDRESS} is {address!r}, which is no address of a scheduler.", "It looks like tcp://host:8786.")
    try:
        socket.create_connection((host, port), _PATIENCE).close()
    except OSError as error:
        raise UsageError(
            f"The Dask scheduler at {address} does not answer: {error}", f"Check {ADDRESS}, or unset it to use this machine."
        ) from error


def _compare(client: Client, address: str) -> None:
    """Refuse workers without this toolkit: Dask would wait for them without end."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        versions = set(client.run(version, "modelyard").values())
    except PackageNotFoundError as error:
        raise UsageError(f"The workers of {address} lack modelyard.", f"Install modelyard {version('modelyard')} there.") from error
    if not versions:
        raise UsageError(f"The Dask scheduler at {address} has no workers.", "Start some: dask worker ADDRESS.")
    if others := versions - {version("modelyard")}:
        raise UsageError(f"Workers of {address} run modelyard {', '.join(sorted(others))}.", f"Install {version('modelyard')} there.")
    say(f"Dask: scheduler at {address}")
