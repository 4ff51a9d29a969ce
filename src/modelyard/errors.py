"""Every fatal error: what happened, what to change, and the exit code."""

from __future__ import annotations

EXIT_DONE = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_NEGATIVE = 10  # done, and the verdict is negative: not a crash


class ModelyardError(Exception):
    """A failure that a person can act on.

    Parameters
    ----------
    what
        What happened, naming the file, value or command concerned.
    fix
        What to change; may be empty where ``what`` already says it.
    """

    exit_code = EXIT_FAILED

    def __init__(self, what: str, fix: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.fix = fix

    def __str__(self) -> str:
        return f"{self.what}\n{self.fix}" if self.fix else self.what


class UsageError(ModelyardError):
    """The command cannot be meant like this: bad option, wrong folder, missing tool."""

    exit_code = EXIT_USAGE


class PolicyError(UsageError):
    """``modelyard.yaml`` (or a release record) does not say what it must say."""


class ProjectError(UsageError):
    """The project lacks an object or a file that the toolkit needs, or it has the wrong shape."""


class DataError(ModelyardError):
    """Data could not be read, or ``load()`` returned something other than the rows asked for."""


class GitError(ModelyardError):
    """A git command failed."""


class PushRejectedError(GitError):
    """The remote refused a push for good (a hook or a protection rule)."""


class PushRaceError(GitError):
    """Somebody else pushed first: fetch, apply again, push again."""


class StateError(ModelyardError):
    """The state branch cannot be read or written."""


class StoreError(ModelyardError):
    """DVC could not reproduce, pull or push."""


class RegistryError(ModelyardError):
    """MLflow does not hold what is asked for, or cannot be reached."""


class ForgeError(ModelyardError):
    """The forge's REST API refused a call."""


class ServiceError(ModelyardError):
    """The packaged service did not build, start or answer."""


class ShadowError(ModelyardError):
    """No fresh model could be trained beside the live one."""


class WorkflowError(ModelyardError):
    """A workflow cannot be run on this machine as it is written."""
