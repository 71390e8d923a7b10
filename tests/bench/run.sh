#!/usr/bin/env bash
# Measures the gateway against named baselines in the same run and prints a table and JSON: tests/bench/run.sh --help
set -euo pipefail
cd "$(dirname "$0")/../.."

need=()
for package in nginx-light wrk nghttp2-client redis-server redis-tools python3-sklearn python3-grpcio openssl; do
    dpkg -s "$package" >/dev/null 2>&1 || need+=("$package")
done
if ((${#need[@]})); then
    echo "bench: installing ${need[*]}" >&2
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${need[@]}" >/dev/null
fi
if [[ " $* " != *" --help "* ]]; then
    echo "bench: building the release preset" >&2
    cmake --preset release >/dev/null
    ninja -C build/release xebec xebec-noop direct_call grpc_echo slow_model | tail -n 1 >&2
fi
exec /usr/bin/python3 tests/bench/run.py "$@"
