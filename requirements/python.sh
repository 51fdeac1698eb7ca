#!/bin/sh
# Prints the name of a Python that the pins are for: $PYTHON when set, else the first on the path that will do.
set -eu

# A name on the path proves nothing (version managers leave names that only print an error), so each is tried.
will_do() { "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 15))' >/dev/null 2>&1; }

if [ -n "${PYTHON:-}" ]; then
    if will_do "$PYTHON"; then
        printf '%s\n' "$PYTHON"
        exit
    fi
    echo "PYTHON=$PYTHON is not a Python of version 3.11 to 3.14." >&2
    exit 1
fi
for candidate in python3 python3.14 python3.13 python3.12 python3.11 python; do
    if will_do "$candidate"; then
        printf '%s\n' "$candidate"
        exit
    fi
done
echo "deedbook needs Python 3.11 to 3.14, and none is on the path: install one, or name one with make PYTHON=..." >&2
exit 1
