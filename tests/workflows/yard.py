"""A generated project with its origin and the source of its data; cheap to copy, so that each test has one of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from modelyard import checklist, git, local, policy, project, registry, release, state
from modelyard.checklist import Answer, Review
from modelyard.demo import stage
from modelyard.local import WorkflowRun
from modelyard.person import Person
from modelyard.propose import BRANCH, MAIN
from modelyard.registry import Version
from modelyard.release import Release

APRIL = datetime(2013, 4, 1, 6, tzinfo=UTC)
MAY = datetime(2013, 5, 1, 6, tzinfo=UTC)
_FOREIGN = ("GITHUB_", "MLFLOW_", "MODELYARD_", "GIT_", "DVC_", "BENTOML_", "FLIGHTS_")


@contextmanager
def environment(caches: Path) -> Iterator[None]:
    """An environment of its own, also for fixtures that outlive a test; uv's cache stays the machine's."""
    uv = {f"UV_{name}_DIR": _uv(*words) for name, words in (("CACHE", ("cache", "dir")), ("PYTHON_INSTALL", ("python", "dir")))}
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith(_FOREIGN) or name in ("CI", "ACT", "PYTHONDONTWRITEBYTECODE"):
                patch.delenv(name)
        settings = {"HOME": caches / "home", "XDG_CACHE_HOME": caches / "cache", "XDG_CONFIG_HOME": caches / "home" / ".config"}
        for name, value in {**uv, **settings, "GIT_CONFIG_NOSYSTEM": "1", "MODELYARD_BUILDER": "none"}.items():
            patch.setenv(name, str(value))
        (caches / "home").mkdir(exist_ok=True)
        yield


def _uv(*words: str) -> str:
    return subprocess.run(["uv", *words], capture_output=True, text=True, check=True).stdout.strip()


@dataclass(frozen=True)
class Yard:
    """Folders of one project, and what can happen to it."""

    folder: Path

    @property
    def root(self) -> Path:
        """The approver's working copy."""
        return self.folder / "flights"

    @property
    def origin(self) -> Path:
        """The bare repository that it and all jobs push to."""
        return self.folder / "origin.git"

    @property
    def upstream(self) -> Path:
        """What ``load()`` reads."""
        return self.folder / "upstream"

    @property
    def demo(self) -> stage.Yard:
        """As the demo's own functions want it."""
        return stage.Yard(self.folder, project.find(self.root))

    @property
    def artifacts(self) -> Path:
        """What runs have kept."""
        return self.folder / "artifacts"

    def copy(self, folder: Path) -> Yard:
        """The same again, in a folder of its own."""
        shutil.copytree(self.folder, folder, ignore=shutil.ignore_patterns("artifacts"), dirs_exist_ok=True)
        again = Yard(folder)
        git.run("remote", "set-url", "origin", str(again.origin), cwd=again.root)
        return again

    def happen(
        self, event: str, workflow: str | None = None, date: datetime | None = None, env: dict[str, str] | None = None, **more: Any
    ) -> WorkflowRun:
        """Let an event happen; the one workflow that it runs."""
        given = {"FLIGHTS_SOURCE": str(self.upstream), "MYPY_CACHE_DIR": str(Path(os.environ["XDG_CACHE_HOME"], "mypy")), **(env or {})}
        runs = local.run(self.root, event, workflow, now=date, env=given, artifacts=self.artifacts, **more)
        (run,) = [run for run in runs if run.conclusion != "skipped"]
        return run

    def command(self, *words: str, program: str = "modelyard", **env: str) -> subprocess.CompletedProcess[str]:
        """A verb in the working copy, by the toolkit under test; or another program of its environment."""
        programs = Path(sys.executable).parent
        path = os.pathsep.join([str(programs), os.environ["PATH"]])
        ours = {"PATH": path, "PYTHONPATH": str(self.root / "src"), "FLIGHTS_SOURCE": str(self.upstream), **env}
        call = [str(programs / program), *words]
        return subprocess.run(call, cwd=self.root, env=os.environ | ours, capture_output=True, text=True, check=False)

    def refs(self) -> dict[str, str]:
        """Branches of origin, and their commits."""
        lines = git.run("for-each-ref", "--format=%(refname:short) %(objectname)", "refs/heads", cwd=self.origin).splitlines()
        return dict(line.split() for line in lines)

    def commit(self, message: str, *, push: bool = True) -> str:
        """Commit everything in the working copy."""
        git.run("add", "--all", cwd=self.root)
        git.run("commit", "--quiet", "-m", message, cwd=self.root)
        if push:
            git.run("push", "--quiet", "origin", "HEAD", cwd=self.root)
        return git.head(self.root)

    def edit(self, name: str, old: str, new: str) -> None:
        """Replace a text, which must be there, in a file of the working copy."""
        path = self.root / name
        text = path.read_text()
        assert old in text, f"{name} has no {old!r}"
        path.write_text(text.replace(old, new))

    def put(self, name: str, key: str, value: Any) -> None:
        """Set one value of a YAML file: ``put("modelyard.yaml", "risk.impact", "negligible")``."""
        path = self.root / name
        content = yaml.safe_load(path.read_text())
        *parents, last = key.split(".")
        part = content
        for parent in parents:
            part = part[parent]
        part[last] = value
        path.write_text(yaml.safe_dump(content, sort_keys=False))

    def approve(self, by: Person | None = None) -> str:
        """Merge the release branch into main, as a person does, by default the author of the code; the commit before."""
        before = git.head(self.root)
        who = ("-c", f"user.name={by.name}", "-c", f"user.email={by.id}") if by else ()
        git.run("fetch", "--quiet", "origin", cwd=self.root)
        git.run(*who, "merge", "--quiet", "--no-ff", f"origin/{BRANCH}", "-m", "Approve", cwd=self.root)
        return before

    def sign(self, by: Person) -> None:
        """Approve what was merged, as a further person does without a forge, and push."""
        git.run("commit", "--quiet", "--allow-empty", "-m", "Approve", "--trailer", f"Approved-by: {by.name} <{by.id}>", cwd=self.root)
        self.push()

    def answer(self, by: Person, reviewer: Person) -> None:
        """Answer what the checklist asks for at the risk level, and let another person agree."""
        here = project.find(self.root)
        covered, answers = checklist.facts(here), checklist.load(self.root)
        for row in checklist.of(here).rows:
            if row.required:
                said = Answer(answer="As the handbook says.", by=f"{by.name} <{by.id}>", date=APRIL.date(), covers_hash=covered[row.covers])
                agreed = Review(agrees=True, by=f"{reviewer.name} <{reviewer.id}>", date=APRIL.date())
                answers = checklist.review(checklist.sign(answers, row.id, said), row.id, agreed)
        checklist.write(self.root, answers)

    def push(self) -> None:
        """Push main."""
        git.run("push", "--quiet", "origin", MAIN, cwd=self.root)

    def pull(self) -> None:
        """Take what workflows pushed to main."""
        git.run("pull", "--quiet", "--ff-only", "origin", MAIN, cwd=self.root)

    def record(self, rev: str = MAIN) -> Release:
        """The release record at a commit or branch of origin."""
        text = git.show(self.origin, rev, project.RELEASE.as_posix())
        assert text is not None, f"{rev} records no release"
        return release.read(text)

    def alias(self, name: str = "champion") -> str | None:
        """The version that an alias names in the state on origin."""
        state.pull(self.root)
        version = registry.get_alias(self._registry(), policy.load(self.root).name, name)
        return version.version if version else None

    def versions(self) -> list[Version]:
        """All versions in the state on origin."""
        state.pull(self.root)
        return registry.versions(self._registry(), policy.load(self.root).name)

    def logged(self, experiment_name: str = "flights") -> list[dict[str, str]]:
        """Tags of the runs in the state on origin, the newest first."""
        state.pull(self.root)
        client = self._registry().client
        experiment = client.get_experiment_by_name(experiment_name)
        return [dict(run.data.tags) for run in client.search_runs([experiment.experiment_id])]

    def _registry(self) -> registry.Registry:
        return registry.connect(self.root / state.FOLDER)

    def changed(self, old: str, new: str) -> set[str]:
        """Paths that differ between two commits or branches of origin."""
        return set(git.run("diff", "--name-only", old, new, cwd=self.origin).splitlines())

    def refuse(self, ref: str) -> Path:
        """Protect refs of origin that match a shell pattern; the hook, whose removal ends it."""
        hook = self.origin / "hooks" / "update"
        hook.parent.mkdir(exist_ok=True)
        hook.write_text(f'#!/bin/sh\ncase "$1" in {ref}) echo "protected branch" >&2; exit 1;; esac\n')
        hook.chmod(0o755)
        return hook

    def flights(self) -> pd.DataFrame:
        """The source as it is."""
        return pd.read_parquet(self.upstream / "flights.parquet")

    def supply(self, flights: pd.DataFrame) -> None:
        """Let the source be this."""
        flights.to_parquet(self.upstream / "flights.parquet", index=False)


def build(folder: Path) -> Yard:
    """Generate a project as the demo does, with every fourth flight of 2013, and push it."""
    yard = Yard(stage.build(folder, "binary").folder)
    yard.supply(yard.flights()[::4])
    yard.push()
    return yard
