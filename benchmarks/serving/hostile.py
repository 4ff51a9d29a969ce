"""Hostile requests: what schemathesis makes of the OpenAPI document, and a list of our own; then the log and the memory are looked at.

Each request of our own carries a word that no log may hold. Nothing but 503 may begin with a 5.
"""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import pickle
import random
import re
import socket
import subprocess
from collections import Counter
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import click
import peers
import servers
import yard

CANARY = "zqx7canary"
LEAST = 5000
#: Memory that may be added after the first fifth of the requests.
FLAT_MB = 15.0

Row = dict[str, Any]


def _values() -> list[Any]:
    numbers = [True, -1, 0, 1.5, 1e308, -1e308, 10**40]
    texts = ["", "1", "NaN", "\u0000", "\ud83d\ude00" * 100, "2013-13-45T99:99", "2013-01-01T00:00:00+99:99"]
    marked = [CANARY, CANARY * 2000, "' OR 1=1 --" + CANARY, "../../etc/passwd" + CANARY, "${jndi:" + CANARY]
    return [None, [], {}, [CANARY], {CANARY: CANARY}, *numbers, *texts, *marked]


def spoiled(row: Row) -> bytes:
    """A request with one fault, or a few."""
    row, names = deepcopy(row), list(row)
    for _ in range(random.choice([1, 1, 1, 3])):
        fault = random.randrange(4)
        name = random.choice(names)
        if fault == 0:
            row.pop(name, None)
        elif fault == 1:
            row[CANARY + str(random.random())] = CANARY
        else:
            row[name] = random.choice(_values())
    if random.random() < 0.5:
        return json.dumps({"rows": [row]}).encode()
    return json.dumps({"columns": {name: random.choice([[value], value, [value] * 3, []]) for name, value in row.items()}}).encode()


def bodies(row: Row) -> dict[str, Callable[[], bytes]]:
    """Whole bodies that are wrong."""
    good = json.dumps({"rows": [row]})
    number = json.dumps({"rows": [{**row, "temp": 77.125}]})
    return {
        "NaN": lambda: number.replace("77.125", "NaN").encode(),
        "infinity": lambda: number.replace("77.125", "-Infinity").encode(),
        "1e999": lambda: number.replace("77.125", "1e999").encode(),
        "4,000 digits": lambda: number.replace("77.125", "9" * 4000).encode(),
        "key twice": lambda: number.replace('"temp"', f'"temp": "{CANARY}", "temp"').encode(),
        "1,001 rows": lambda: json.dumps({"rows": [row] * 1001}).encode(),
        "no rows": lambda: b'{"rows": []}',
        "deep lists": lambda: b"[" * 200_000,
        "deep objects": lambda: b'{"rows":' * 50_000,
        "deep value": lambda: number.replace("77.125", "[" * 5000 + "]" * 5000).encode(),
        "not JSON": lambda: f"<{CANARY}>".encode(),
        "cut off": lambda: good.encode()[: random.randrange(1, len(good))],
        "no UTF-8": lambda: good.encode().replace(b'"carrier": "', b'"carrier": "\xff\xfe'),
        "lone surrogate": lambda: good.replace('"carrier": "', r'"carrier": "\ud800').encode(),
        "UTF-16": lambda: good.encode("utf-16"),
        "byte order mark": lambda: good.encode("utf-8-sig"),
        "10 MB": lambda: json.dumps({"rows": [{**row, "carrier": CANARY * 1_000_000}]}).encode(),
        "empty": lambda: b"",
        "null": lambda: b"null",
        "a number": lambda: b"7",
        "many ids": lambda: json.dumps({"rows": [row], "ids": [CANARY] * 5000}).encode(),
        "wide row": lambda: json.dumps({"rows": [row | {f"{CANARY}{i}": i for i in range(5000)}]}).encode(),
    }


def headers(row: Row) -> dict[str, tuple[dict[str, str], bytes]]:
    """Good bodies, or none, under wrong headers."""
    good = json.dumps({"rows": [row]}).encode()
    part = f'--{CANARY}\r\nContent-Disposition: form-data; name="rows"\r\n\r\n'.encode()
    return {
        "broken multipart": ({"Content-Type": f"multipart/form-data; boundary={CANARY}"}, part),
        "multipart without boundary": ({"Content-Type": "multipart/form-data"}, part),
        "pickle": ({"Content-Type": "application/vnd.bentoml+pickle"}, pickle.dumps({"rows": [row]})),
        "form": ({"Content-Type": "application/x-www-form-urlencoded"}, b"rows=" + CANARY.encode()),
        "text": ({"Content-Type": "text/plain"}, good),
        "parquet": ({"Content-Type": "application/vnd.apache.parquet"}, b"PAR1" + CANARY.encode()),
        "gzip": ({"Content-Type": "application/json", "Content-Encoding": "gzip"}, gzip.compress(good)),
        "gzip bomb": ({"Content-Type": "application/json", "Content-Encoding": "gzip"}, gzip.compress(b" " * 50_000_000)),
        "odd charset": ({"Content-Type": f"application/json; charset={CANARY}"}, good),
        "long request id": ({"Content-Type": "application/json", "X-Request-Id": CANARY * 500}, good),
        "request id that breaks lines": ({"Content-Type": "application/json", "X-Request-Id": f"{CANARY}%0d%0a\u00e9"}, good),
        "BentoML's own headers": ({"Content-Type": "application/json", "Bentoml-Payload-Meta": CANARY, "Payload-Container": "x"}, good),
    }


RAW = {
    "length of a word": "POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: {canary}\r\n\r\n",
    "negative length": "POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n{canary}",
    "length and chunks": "POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "bad chunk": "POST /predict HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n{canary}\r\n",
    "no HTTP": "\x16\x03\x01{canary}\r\n\r\n",
    "huge header": "GET /predict HTTP/1.1\r\nHost: x\r\nX: {long}\r\n\r\n",
    "path with a canary": "GET /{canary}/%00/../..;/ HTTP/1.1\r\nHost: x\r\n\r\n",
}


class Attack:
    """All requests against one server, and what became of them."""

    def __init__(self, server: servers.Server, row: Row) -> None:
        self._server, self._row = server, row
        self.statuses: dict[str, Counter[str]] = {}
        self.memory: list[float] = []

    async def run(self, spoilt: int, each: int) -> None:
        """Everything in random order, 8 at a time; then 500 at once, and slow bodies."""
        jobs: list[tuple[str, str, dict[str, str], Callable[[], bytes]]] = []
        plain = {"Content-Type": "application/json"}
        for _ in range(spoilt):
            body = spoiled(self._row)
            jobs.append(
                (
                    "spoilt rows and columns",
                    "/predict" if body.startswith(b'{"rows"') else "/predict_columns",
                    plain,
                    lambda body=body: body,
                )
            )
        for name, make in bodies(self._row).items():
            jobs += [(name, random.choice(["/predict", "/predict_columns"]), plain, make) for _ in range(3 if "MB" in name else each)]
        for name, (given, content) in headers(self._row).items():
            jobs += [(name, "/predict", given, lambda content=content: content) for _ in range(each)]
        random.shuffle(jobs)
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60), connector=aiohttp.TCPConnector(limit=0)) as session:
            for start in range(0, len(jobs), 8):
                await asyncio.gather(*(self._ask(session, *job) for job in jobs[start : start + 8]))
                if start % 400 == 0:
                    self.memory.append(self._server.memory())
            for method in ("GET", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "HEAD"):
                async with session.request(method, f"{self._server.address}/predict", data=CANARY) as response:
                    self._count("other methods", str(response.status))
            good = json.dumps({"rows": [self._row]}).encode()
            for _ in range(3):
                await asyncio.gather(*(self._ask(session, "500 clients at once", "/predict", plain, lambda: good) for _ in range(500)))
        for name, text in RAW.items():
            for _ in range(each):
                self._count(name, await asyncio.to_thread(self._raw, text.format(canary=CANARY, long=CANARY * 20_000)))
        await self._slow()
        self.memory.append(self._server.memory())

    async def _ask(self, session: aiohttp.ClientSession, name: str, path: str, given: dict[str, str], make: Callable[[], bytes]) -> None:
        try:
            async with session.post(self._server.address + path, data=make(), headers=given) as response:
                await response.read()
                told = "" if response.status != 503 or "Retry-After" in response.headers else " without Retry-After"
                self._count(name, f"{response.status}{told}")
        except (aiohttp.ClientError, ConnectionError) as error:
            self._count(name, type(error).__name__)
        except ValueError:  # the client itself refuses the header
            self._count(name, "not sent")

    def _raw(self, text: str) -> str:
        where = urlsplit(self._server.address)
        with contextlib.suppress(OSError), socket.create_connection((where.hostname or "", where.port or 0), timeout=15) as connection:
            connection.sendall(text.encode("latin-1"))
            connection.shutdown(socket.SHUT_WR)
            if found := re.match(rb"HTTP/1\.1 (\d+)", connection.recv(200)):
                return found[1].decode()
        return "closed"

    async def _slow(self) -> None:
        """Bodies that never end: each is let go after the time that the policy allows, and others are answered meanwhile."""
        where = urlsplit(self._server.address)

        async def dribble() -> None:
            reader, writer = await asyncio.open_connection(where.hostname, where.port)
            writer.write(b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 5000\r\n\r\n")
            with contextlib.suppress(OSError, TimeoutError):
                for _ in range(20):
                    writer.write(b'{"rows')
                    await writer.drain()
                    with contextlib.suppress(TimeoutError):
                        answer = await asyncio.wait_for(reader.read(100), 1)
                        self._count("slow bodies", answer[9:12].decode() or "closed")
                        break
                else:
                    self._count("slow bodies", "still open after 20 s")
            writer.close()

        dribbling = [asyncio.create_task(dribble()) for _ in range(100)]
        await asyncio.sleep(3)
        async with aiohttp.ClientSession() as session:
            good = json.dumps({"rows": [self._row]}).encode()
            for _ in range(20):
                await self._ask(session, "good ones beside slow bodies", "/predict", {"Content-Type": "application/json"}, lambda: good)
        await asyncio.gather(*dribbling)

    def _count(self, name: str, status: str) -> None:
        self.statuses.setdefault(name, Counter())[status] += 1


@click.command(help=__doc__)
@yard.CACHE
@click.option("--spoilt", default=6000, show_default=True, help="Requests with spoilt rows or columns.")
@click.option("--each", default=50, show_default=True, help="Requests of each other kind.")
@click.option("--examples", default=300, show_default=True, help="Of schemathesis, for each operation.")
@click.option("--seed", default=1, show_default=True)
@click.option("--json", "file", type=click.Path(path_type=Path))
def main(cache: Path, spoilt: int, each: int, examples: int, seed: int, file: Path | None) -> None:
    random.seed(seed)
    made = yard.make(cache)
    (row,), _ = made.rows(1)
    with servers.running("modelyard", made, cache, cores="0,1") as server:
        attack = Attack(server, row)
        asyncio.run(attack.run(spoilt, each))
        own = server.counts("modelyard_requests_total", by="status")
        schemathesis = peers.environment("schemathesis", cache) / "bin/st"
        command = [schemathesis, "run", f"{server.address}/openapi.json", "--checks", "not_a_server_error", "--max-examples", str(examples)]
        done = subprocess.run([*command, "--seed", str(seed)], cwd=server.scratch, capture_output=True, text=True, check=False)
        tail = "\n".join(done.stdout.splitlines()[-25:])
        total = server.counts("modelyard_requests_total", by="status")
        server.check(1)
        attack.memory.append(server.memory())
        log = server.log.read_text(errors="replace")
    settled = attack.memory[len(attack.memory) // 5]
    document = {
        "requests": sum(total.values()),
        "by_schemathesis": sum(total.values()) - sum(own.values()),
        "schemathesis": done.returncode,
        "statuses": dict(sorted(total.items())),
        "cases": {name: dict(found) for name, found in attack.statuses.items()},
        "memory_mb": [round(value, 1) for value in attack.memory],
        "added_mb": round(max(attack.memory) - settled, 1),
        "tracebacks": log.count("Traceback"),
        "canaries": log.lower().count(CANARY),
        "log_lines": len(log.splitlines()),
    }
    if file:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(document, indent=1) + "\n")
    server_errors = {status: count for status, count in total.items() if status.startswith("5") and status != "503"}
    wrong = {name: found for name, found in attack.statuses.items() if any(re.match(r"5(?!03$)", status) for status in found)}
    quiet = not document["tracebacks"] and not document["canaries"]
    sent = f"{document['requests']:,} requests, {document['by_schemathesis']:,} of them by schemathesis (ended with {done.returncode})"
    checks = [
        (sent, document["requests"] >= LEAST and done.returncode == 0),
        (f"answers 5xx other than 503: {server_errors or wrong or 'none'}", not server_errors and not wrong),
        (f"tracebacks in the log: {document['tracebacks']}; values of requests: {document['canaries']}", quiet),
        (f"memory: {settled:.0f} MB after a fifth, {document['added_mb']:.1f} MB more at most", document["added_mb"] <= FLAT_MB),
    ]
    click.echo("\n".join(f"- {'reached' if met else '**MISSED**'}: {words}" for words, met in checks))
    click.echo("\n| kind | answers |\n|---|---|")
    for name, found in sorted(attack.statuses.items()):
        click.echo(f"| {name} | {', '.join(f'{count:,} x {status}' for status, count in found.most_common())} |")
    if done.returncode:
        click.echo(f"\n{tail}")


if __name__ == "__main__":
    main()
