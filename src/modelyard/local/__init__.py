"""Run a project's own workflows on this machine, with act and without Docker.

What runs is the last commit, never the working tree; jobs see an allow-list of the environment, fetch from and push to a repository on this
machine, and share one Python environment.
"""

from modelyard.local.act import Step
from modelyard.local.cli import command
from modelyard.local.runs import WorkflowRun, run

__all__ = ["Step", "WorkflowRun", "command", "run"]
