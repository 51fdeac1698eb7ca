#!/bin/sh
# Makes .venv what the pins say: the pinned packages, then deedbook itself. Does nothing when it already is.
# Safe to run again at any time, after an interruption too: the stamp is written last.
set -eu
cd "$(dirname "$0")/.."

stamp=.venv/.deedbook-set-up
fail() {
    printf '%s\n' "$*" >&2
    exit 1
}

# The folder belongs to the stamp: the scripts of a virtual environment that was moved or copied still start
# the one it came from.
folder=$(pwd -P)
# What the package is built from besides: a changed interface needs its code made again.
sources="api/generate.py api/proto/deedbook/v1/registry.proto"
# shellcheck disable=SC2086 # two names
wanted="$folder $(cat pyproject.toml requirements/dev.txt requirements/install.sh $sources | cksum)"
if [ -x .venv/bin/python ] && [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ]; then
    exit
fi

make_venv() {
    python=$(sh requirements/python.sh)
    "$python" -m venv "$@" .venv >/dev/null 2>&1 && return
    [ -x .venv/bin/python ] && return # made, all but pip: seen to below
    fail "$python can't make a virtual environment here: see what '$python -m venv .venv' says."
}

echo "Setting up .venv from the pins: about a minute, the first time only." >&2
if [ ! -e .venv ]; then
    make_venv
elif [ ! -e .venv/pyvenv.cfg ]; then
    fail "There is a .venv here that is no virtual environment: move it away and run make again."
elif ! PYTHON=.venv/bin/python sh requirements/python.sh >/dev/null 2>&1; then
    echo "The .venv that is here has no Python of version 3.11 to 3.14: making it anew." >&2
    make_venv --clear
elif [ -s "$stamp" ] && case $(cat "$stamp") in "$folder "*) false ;; esac; then
    echo "The .venv that is here came from another folder: making it anew." >&2
    make_venv --clear
fi
rm -f "$stamp"

# Other tools make virtual environments without pip, and some systems ship a Python without it.
if ! .venv/bin/python -m pip --version >/dev/null 2>&1; then
    .venv/bin/python -m ensurepip >/dev/null 2>&1 ||
        fail "This Python comes without pip: install its venv package (Debian: apt install python3-venv) and run make again."
fi

pip() { .venv/bin/python -m pip --disable-pip-version-check --quiet "$@"; }
pip install --require-hashes --no-deps --only-binary :all: -r requirements/dev.txt
pip install --no-deps --no-build-isolation -e .
printf '%s\n' "$wanted" >"$stamp"
