"""The command line: one command a verb, loaded when it is called, and the only place that catches errors."""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any

import click

from modelyard import __version__
from modelyard.errors import EXIT_FAILED, ModelyardError
from modelyard.outcome import Outcome

#: Verb -> what it does. Each is a module ``modelyard.<verb>`` with a click ``command`` and an action ``actions/<verb>``.
VERBS = {
    "ingest": "Take each complete period of data that is missing.",
    "validate": "Check the batches against the project's schema; quarantine what fails.",
    "train": "Reproduce the pipeline: dvc repro, with progress.",
    "profile": "Make the compact reference that monitor compares with.",
    "evaluate": "Compare the challenger with the criteria and with the champion.",
    "register": "Log the run, its artifacts and the model version in MLflow.",
    "package": "Build the Bento and try it.",
    "loadtest": "Hold the packaged service against the policy's service level.",
    "propose": "Open or update the release pull request.",
    "promote": "Verify the merged release and make it live.",
    "rollback": "Put an earlier release back.",
    "monitor": "Compare the current window with the champion's profile.",
    "score": "Give each row of a batch the champion's prediction.",
    "report": "Write the model card or the audit record.",
}
#: Commands that are no step of the flow.
TOOLS = {
    "checklist": "Show or sign the responsible-ML checklist.",
    "served": "Compact the prediction log of a service to Parquet.",
    "state": "Pull or push the embedded store (MLflow and DVC remote on a branch).",
    "local": "Run the project's workflows on this machine.",
    "demo": "Generate a project and let a year of flights happen to it.",
}


class _Lazy(click.Group):
    """Imports a command's module when it is called, so that ``--help`` costs no pandas."""

    def list_commands(self, _: click.Context) -> list[str]:
        return [*VERBS, *TOOLS]

    def get_command(self, _: click.Context, name: str) -> click.Command | None:
        if name not in VERBS | TOOLS:
            return None
        command: click.Command = importlib.import_module(f"modelyard.{name}").command
        return command

    def format_commands(self, _: click.Context, formatter: click.HelpFormatter) -> None:
        for title, group in (("The flow", VERBS), ("Beside it", TOOLS)):
            with formatter.section(title):
                formatter.write_dl(list(group.items()))


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def modelyard(debug: bool) -> None:
    """MLOps from a Git repository alone. Run the verbs inside a project.

    Exit codes: 0 done; 10 done, and the verdict is negative; 2 bad usage or configuration; 1 anything else.
    """


def main(args: list[str] | None = None) -> None:
    """Run one command and leave the process with its exit code."""
    argv = sys.argv[1:] if args is None else args
    debug = "--debug" in argv or bool(os.environ.get("MODELYARD_DEBUG"))
    result: Any = None
    try:
        result = modelyard.main(args=[a for a in argv if a != "--debug"], prog_name="modelyard", standalone_mode=False)
        if isinstance(result, Outcome):
            from modelyard import github

            github.publish(result)
    except click.exceptions.Exit as exit_:
        sys.exit(exit_.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):  # click makes the one of the other
        click.echo("Stopped.", err=True)
        sys.exit(130)
    except Exception as error:
        if isinstance(error, BrokenPipeError) and isinstance(result, Outcome):
            # The work is done, and whoever read our words has heard enough: `modelyard monitor ... | head`.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(result.exit_code)
        _tell(error, debug)
        sys.exit(error.exit_code if isinstance(error, ModelyardError) else EXIT_FAILED)
    if isinstance(result, Outcome):
        sys.exit(result.exit_code)


def _tell(error: Exception, debug: bool) -> None:
    from modelyard import github

    if debug:
        import traceback

        traceback.print_exception(error)
    if isinstance(error, ModelyardError):
        what, fix = error.what, error.fix
    elif isinstance(error, OSError) and error.filename:
        what, fix = f"{error.filename}: {error.strerror}.", "Check the path, its permissions, and the space on the disk."
    else:
        what = f"Unexpected {type(error).__name__}: {error}"
        fix = "This should not happen. Run again with --debug and report it with the traceback."
    click.echo(f"Error: {what}" + (f"\n{fix}" if fix else ""), err=True)
    github.annotate("error", what)
