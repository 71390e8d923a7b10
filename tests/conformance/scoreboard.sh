#!/usr/bin/env bash
# The conformance suite against Xebec and other servers of the protocol: tests/conformance/scoreboard.sh --help
set -euo pipefail
cd "$(dirname "$0")/../.."
if [[ " $* " != *" --help "* ]]; then
    echo "scoreboard: building the release preset" >&2
    cmake --preset release >/dev/null
    ninja -C build/release xebec xebec-echo | tail -n 1 >&2
fi
exec /usr/bin/python3 tests/conformance/scoreboard.py "$@"
