#!/usr/bin/env bash
# Decides once where the toolkit comes from: the project's own lock if it holds modelyard, else this action's checkout.
set -euo pipefail

toolkit="$GITHUB_ACTION_PATH/../.."
if grep -qs '^name = "modelyard"$' uv.lock; then
  uv sync --locked
  environment="${UV_PROJECT_ENVIRONMENT:-$PWD/.venv}"
  # The job's own source, also where the environment is shared between jobs.
  echo "PYTHONPATH=$PWD/src" >>"$GITHUB_ENV"
elif [ -f "$toolkit/src/modelyard/cli.py" ]; then
  environment="$RUNNER_TEMP/modelyard"
  UV_PROJECT_ENVIRONMENT="$environment" uv sync --no-dev --extra notify --project "$toolkit"
else
  echo "::error::There is no uv.lock with modelyard in it. Run 'uv sync' and commit uv.lock."
  exit 1
fi
echo "$environment/bin" >>"$GITHUB_PATH"

while IFS= read -r line; do
  [[ -z "$line" || "$line" == \#* ]] && continue
  if [[ ! "$line" =~ ^[A-Za-z_][A-Za-z0-9_]*=. ]]; then
    echo "::error::A line of the secret MODELYARD_ENV is not NAME=value."
    exit 1
  fi
  echo "::add-mask::${line#*=}"
  echo "$line" >>"$GITHUB_ENV"
done <<<"${MODELYARD_ENV:-}"
