#!/bin/sh
# Makes the environment .venv from requirements.txt. Usage: book/scripts/setup.sh [python3]
set -eu
cd "$(dirname "$0")/../.."
python=${1:-python3}

fail() { echo "make setup: $1" >&2; exit 1; }

command -v "$python" >/dev/null 2>&1 ||
    fail "'$python' was not found. Install the package python3 (3.11 or later), or name another: make setup PYTHON=python3.12"
command -v git >/dev/null 2>&1 || fail "'git' was not found. Install the package git."
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    fail "found $("$python" --version), expected Python 3.11 or later. Install it, or name another: make setup PYTHON=python3.12"
"$python" -c 'import ensurepip, venv' 2>/dev/null ||
    fail "'$python' has no venv. Install the package python3-venv."

# PyPI's torch for Linux brings several GB of CUDA. Without an NVIDIA GPU, torch's own index offers the CPU build,
# unless the reader's settings already say where packages come from.
index=
if [ "$(uname -s)" = Linux ] && ! command -v nvidia-smi >/dev/null 2>&1 &&
    [ -z "${PIP_FIND_LINKS:-}${PIP_INDEX_URL:-}${PIP_EXTRA_INDEX_URL:-}" ]; then
    index="--extra-index-url https://download.pytorch.org/whl/cpu"
fi

"$python" -m venv .venv
pip() { .venv/bin/python -m pip --disable-pip-version-check "$@"; }

echo "Installing into .venv, torch first. The first time this takes some minutes."
# torch first and alone: a resolver that sees both at once may replace a CPU build by the CUDA one.
# shellcheck disable=SC2086
pip install $index "$(grep '^torch==' requirements.txt)"
echo "Installing the packages of requirements.txt."
# shellcheck disable=SC2086
pip install --quiet $index -r requirements.txt
pip install --quiet --no-deps --no-build-isolation --editable .
pip check
touch .venv/.ready
