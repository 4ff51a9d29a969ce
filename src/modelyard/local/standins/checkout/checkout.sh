#!/usr/bin/env bash
# Fetch one commit from the local origin (or, where it was not pushed yet, from the working copy) and check it out.
set -euo pipefail

fail() { echo "::error::checkout: $*"; exit 1; }

[[ -z "$IN_REPOSITORY" || "$IN_REPOSITORY" == "$GITHUB_REPOSITORY" ]] || fail "another repository ($IN_REPOSITORY) cannot be checked out on this machine"
[[ "$IN_LFS" == false && "$IN_SUBMODULES" == false ]] || fail "lfs and submodules are not supported on this machine"

mkdir -p "$GITHUB_WORKSPACE/$IN_PATH"
cd "$GITHUB_WORKSPACE/$IN_PATH"
[[ -d .git ]] || git init --quiet .
git remote remove origin 2>/dev/null || true
git remote add origin "$MODELYARD_LOCAL_ORIGIN"

depth="--depth=$IN_DEPTH"
if [[ "$IN_DEPTH" == 0 ]]; then
  depth=""
  git fetch --quiet --tags --prune origin '+refs/heads/*:refs/remotes/origin/*'
fi
tags=--no-tags
[[ "$IN_TAGS" == true ]] && tags=--tags

get() { # get SOURCE TARGET: from origin, else from the working copy
  git fetch --quiet $tags $depth origin "+$1:$2" 2>/dev/null ||
    git fetch --quiet --no-tags $depth "$MODELYARD_LOCAL_SOURCE" "+$1:$2"
}

name="${IN_REF:-$GITHUB_REF}"
if [[ "$name" =~ ^[0-9a-f]{40}$ ]]; then
  get "$name" refs/modelyard/checkout || fail "commit $name is neither on the local origin nor in the working copy"
  git checkout --quiet --force --detach refs/modelyard/checkout
  git update-ref -d refs/modelyard/checkout
elif [[ -z "$IN_REF" && "$name" != refs/heads/* ]]; then # a pull request or a tag: the event's commit, on no branch
  get "$GITHUB_SHA" refs/modelyard/checkout || fail "commit $GITHUB_SHA was not found"
  git checkout --quiet --force --detach refs/modelyard/checkout
  git update-ref -d refs/modelyard/checkout
elif [[ -z "$IN_REF" ]]; then
  branch="${name#refs/heads/}"
  get "$GITHUB_SHA" "refs/remotes/origin/$branch" || fail "commit $GITHUB_SHA was not found"
  git checkout --quiet --force -B "$branch" "refs/remotes/origin/$branch"
else
  branch="${name#refs/heads/}"
  if git fetch --quiet $tags $depth origin "+refs/heads/$branch:refs/remotes/origin/$branch" 2>/dev/null; then
    git checkout --quiet --force -B "$branch" "refs/remotes/origin/$branch"
  else
    tag="${name#refs/tags/}"
    git fetch --quiet $depth origin "+refs/tags/$tag:refs/tags/$tag" 2>/dev/null || fail "no branch or tag is named $name on the local origin"
    git checkout --quiet --force --detach "refs/tags/$tag"
  fi
fi
commit="$(git rev-parse HEAD)"
echo "checked out $commit"
printf 'commit=%s\nref=%s\n' "$commit" "$name" >> "$GITHUB_OUTPUT"

# One Python environment for all jobs whose commits want the same one. It belongs to a copy of the files that decide about it, at a path that
# stays: `uv sync` in a workspace, a new folder each time, would reinstall the toolkit under the feet of another job.
if [[ -z "$IN_PATH" && -n "${MODELYARD_LOCAL_ENVIRONMENTS:-}" && -z "${UV_PROJECT_ENVIRONMENT:-}" && -f uv.lock && -f pyproject.toml ]]; then
  parts=()
  for part in pyproject.toml uv.lock .python-version vendor/modelyard; do
    [[ -e "$part" ]] && parts+=("$part")
  done
  key="$({ echo "${UV_PYTHON:-}"; for part in "${parts[@]}"; do echo "$part $(git rev-parse "HEAD:$part")"; done; } | git hash-object --stdin)"
  home="$MODELYARD_LOCAL_ENVIRONMENTS/${key:0:16}"
  if [[ ! -d "$home/project" ]]; then
    mkdir -p "$home"
    copy="$(mktemp -d "$home/copy.XXXXXX")"
    git archive HEAD "${parts[@]}" | tar -x -C "$copy"
    # Renaming is atomic, and fails where another job was first.
    "$MODELYARD_LOCAL_PYTHON" -I -c 'import os, sys; os.rename(*sys.argv[1:])' "$copy" "$home/project" 2>/dev/null || rm -rf "$copy"
  fi
  touch "$home"
  printf '%s\n' "UV_PROJECT=$home/project" "UV_PROJECT_ENVIRONMENT=$home/venv" UV_NO_EDITABLE=1 UV_NO_INSTALL_PROJECT=1 >> "$GITHUB_ENV"
fi
