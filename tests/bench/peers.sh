#!/usr/bin/env bash
# Measures Xebec beside other model servers and prints a table: tests/bench/peers.sh --help. Each server goes into a virtual
# environment of its own under build/peers; nothing else of this machine changes but Debian's packages below.
set -euo pipefail
cd "$(dirname "$0")/../.."

need=()
for package in python3-venv libpython3.11 protobuf-compiler; do
    dpkg -s "$package" >/dev/null 2>&1 || need+=("$package")
done
if ((${#need[@]})); then
    echo "peers: installing ${need[*]}" >&2
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${need[@]}" >/dev/null
fi
if [[ " $* " != *" --help "* ]]; then
    echo "peers: building the release preset" >&2
    cmake --preset release >/dev/null
    ninja -C build/release xebec xebec-echo open_loop | tail -n 1 >&2
fi
PYTHONPATH=tests/bench exec /usr/bin/python3 -m peers "$@"
