"""``modelyard loadtest``: does the packaged service keep the service level of the policy?

====================  ======================================================================
:mod:`.generator`     requests at a constant rate, whatever becomes of those before
:mod:`.trial`         warm-up, rounds, ramp
:mod:`.report`        what was measured, held against the level
:mod:`.resources`     memory and work of the service's processes
====================  ======================================================================
"""

from __future__ import annotations

import contextlib
import http.client
import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from modelyard.errors import ProjectError, ServiceError, UsageError
from modelyard.outcome import Outcome

if TYPE_CHECKING:
    from modelyard.loadtest.report import Model
    from modelyard.loadtest.resources import Resources
    from modelyard.policy import Level
    from modelyard.serving import Bento

REPORT = "loadtest.json"
#: What promote asks for: at least so long, and so many requests that one slow answer is not the 99th percentile.
SMOKE_SECONDS, SMOKE_REQUESTS = 3.0, 100


def run(root: Path, level: Level, examples: Path, *, service: Bento | str, ramp: bool = True, sha256: str = "") -> Outcome:
    """Ask a service at a constant rate, and write ``reports/loadtest.json``.

    Parameters
    ----------
    root
        The folder of ``reports``.
    examples
        ``models/examples.json``: rows, with the predictions that must come.
    service
        The Bento, which is started and stopped; or the address of a service that runs.
    ramp
        Also look for the highest rate at which the level is kept.
    sha256
        Of the model that must answer; empty for any.

    Returns
    -------
    Outcome
        ``pass``; or ``fail`` or ``unknown``, both negative.

    Raises
    ------
    ServiceError
        There is no service, it does not start, or it answers with another model.
    """
    from modelyard import jsonfile, processes, serving
    from modelyard.loadtest import generator, report
    from modelyard.loadtest.trial import Trial

    asked = generator.questions(*serving.read_examples(examples), level.rows)
    with processes.interruptible(), _running(root, service) as (address, resources):
        model = _model(address)
        if sha256 and model and model.sha256 not in ("", sha256):
            raise ServiceError(f"The service has the model {model.sha256[:12]}, not {sha256[:12]}.", "Run `modelyard package`.")
        trial = Trial(address, asked, level, resources)
        trial.run(ramp)
    found = report.LoadTest(
        verdict=trial.verdict,
        reasons=trial.reasons,
        level=level,
        service=service if isinstance(service, str) else service.tag,
        model=model,
        rounds=trial.rounds,
        knee=trial.knee,
        memory=trial.memory,
    )
    jsonfile.write(root / "reports" / REPORT, found)
    decisive, knee = report.best(found.rounds), found.knee
    return Outcome(
        verdict=found.verdict,
        positive=found.verdict == "pass",
        summary=report.summary(found),
        outputs={
            "p99_ms": f"{decisive.latency.p99_ms:.1f}" if decisive.latency else "",
            "failed": str(decisive.failed),
            "knee": f"{knee.rate:.0f}" if knee and knee.rate else "",
        },
        problems=tuple(f"loadtest: {found.verdict}: {reason}" for reason in found.reasons),
    )


def smoke(root: Path, level: Level, examples: Path, bento: Bento) -> str:
    """A few seconds of :func:`run`; why the level is missed, empty where it is kept, or this machine is too busy to tell."""
    seconds = min(level.seconds, max(SMOKE_SECONDS, SMOKE_REQUESTS / level.rate))
    outcome = run(root, level.model_copy(update={"seconds": seconds, "knee": None}), examples, service=bento, ramp=False)
    return "; ".join(outcome.problems) if outcome.verdict == "fail" else ""


def packaged(root: Path) -> Bento:
    """The Bento that ``package`` built last in a project.

    Raises
    ------
    ProjectError
        There is none.
    """
    from modelyard.package import HOME
    from modelyard.serving import Bento

    try:
        tag = str(json.loads((root / "reports/package.json").read_text())["bento"])
    except (OSError, ValueError, KeyError, TypeError):
        raise ProjectError("There is no reports/package.json that names a Bento.", "Run `modelyard package` first.") from None
    name, _, version = tag.partition(":")
    path = root / HOME / "bentos" / name / version
    if not path.is_dir():
        raise ProjectError(f"The Bento {tag} is not in {HOME}.", "Run `modelyard package` again.")
    return Bento(tag, path)


@contextlib.contextmanager
def _running(root: Path, service: Bento | str) -> Iterator[tuple[str, Resources | None]]:
    """The address, and the service's processes where they are ours."""
    from modelyard import serving
    from modelyard.loadtest.resources import Resources
    from modelyard.package import HOME

    if isinstance(service, str):
        yield service.rstrip("/"), None
        return
    with serving.served(service, root / HOME) as running:
        yield running.address, Resources(running.pid)


def _model(address: str) -> Model | None:
    """What the service says of itself; None where it does not."""
    from pydantic import ValidationError

    from modelyard.loadtest.report import Model

    try:
        with urllib.request.urlopen(f"{address}/model", timeout=10) as response:
            return Model.model_validate_json(response.read())
    except (urllib.error.HTTPError, ValidationError):
        return None
    except (OSError, ValueError, http.client.HTTPException) as error:
        why = getattr(error, "reason", error)
        raise ServiceError(f"No service answers at {address}: {why}.", "Start it, or give another --url.") from None


@click.command("loadtest")
@click.option("--url", envvar="MODELYARD_LOADTEST_URL", metavar="URL", help="Test the service that runs there; default: start the Bento.")
@click.option(
    "--examples",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Rows to ask, with the predictions that must come; default: models/examples.json.",
)
@click.option("--rate", type=float, envvar="MODELYARD_LOADTEST_RATE", help="Requests a second; this and what follows: else the policy's.")
@click.option("--rows", type=int, help="Rows of each.")
@click.option("--seconds", type=float, envvar="MODELYARD_LOADTEST_SECONDS", help="For how long.")
@click.option("--p99-ms", type=float, help="99th percentile of the time to an answer, counted from when the request was due.")
@click.option("--errors", type=float, help="Share of requests that may fail.")
@click.option(
    "--knee/--no-knee",
    default=True,
    show_default=True,
    envvar="MODELYARD_LOADTEST_KNEE",
    help="Also look for the highest rate at which the level is kept: a minute more. Done anyway where the level names a knee.",
)
def command(url: str | None, examples: Path | None, knee: bool, **asked: float | None) -> Outcome:
    """Ask the packaged service at the rate of the policy, and judge it by serving.level.

    Requests are due at a constant rate, whatever becomes of those before, and latency counts from when they were due. They are the rows
    that training recorded, and each answer is compared with the prediction recorded for it. A round that misses the level is repeated up to
    two times. Verdict: pass; fail, or unknown where this machine was too busy to tell (both exit code 10). Outside of a project it needs
    --url and --examples: a service that answers POST /predict {"rows": [...]} with {"predictions": [...]}.
    """
    from modelyard import policy, release
    from modelyard.project import EXAMPLES, MODEL, find

    try:
        project = find()
    except UsageError:
        if not (url and examples):
            raise
        project = None
    if url and not url.startswith(("http://", "https://")):
        raise UsageError(f"--url {url} is no address.", "Write it as http://127.0.0.1:3000.")
    usual = project.policy.serving.level.model_dump() if project else {}
    level = policy.parse(usual | {key: value for key, value in asked.items() if value is not None}, policy.Level, "The service level")
    root = project.root if project else Path.cwd()
    rows = examples or root / EXAMPLES
    if url:
        return run(root, level, rows, service=url, ramp=knee)
    for path in (root / MODEL, rows):
        if not path.exists():
            raise ProjectError(f"{path.name} is missing.", "Run `modelyard train` first.")
    return run(root, level, rows, service=packaged(root), ramp=knee, sha256=release.sha256(root / MODEL))
