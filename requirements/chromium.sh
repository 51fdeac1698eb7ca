#!/bin/sh
# Sees to a Chromium for the tests of the pages: the one that is here, else Debian's, where this user may install it.
# Never fails: without one those tests say so and are skipped, everything else is tested.
set -u
for name in "${DEEDBOOK_TEST_CHROMIUM:-chromium}" chromium-browser google-chrome; do
    command -v "$name" >/dev/null 2>&1 && exit 0
done
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null 2>&1; then
    echo "There is no Chromium here, so the pages are tested without a browser: install the package chromium." >&2
    exit 0
fi
echo "Installing Debian's Chromium for the tests of the pages: once." >&2
said=$( (apt-get update --quiet=2 && DEBIAN_FRONTEND=noninteractive apt-get install --yes --quiet=2 \
    --no-install-recommends chromium) 2>&1 ) || {
    printf '%s\n' "$said" | tail -n 3 >&2
    echo "Chromium could not be installed: the pages are tested without a browser." >&2
}
exit 0
