#!/bin/bash
# Debian 12 packages: `build` for the gateway alone (Dockerfile), `run` to build and serve (deploy/quickstart.sh),
# `test` on top of that for tests/run.sh.
#
#   deploy/packages.sh build      installs what is missing of `build`
#   deploy/packages.sh run        of `build` and `run`
#   deploy/packages.sh test       of all three
#   deploy/packages.sh --list G   prints group G's packages instead
set -euo pipefail

build=(
    # compilers, then the libraries of CMakeLists.txt
    cmake ninja-build gcc g++ pkg-config
    libevent-dev libgrpc-dev libhiredis-dev libhttp-parser-dev libnghttp2-dev libprotobuf-c-dev libsimdjson-dev libsodium-dev
    libssl-dev libyaml-dev zlib1g-dev
    protobuf-c-compiler
)
run=(
    # the models
    python3 python3-grpcio python3-joblib python3-numpy python3-protobuf python3-sklearn python3-threadpoolctl
    protobuf-compiler
    # asking it, and telling who has its port
    ca-certificates curl iproute2
)
test=(
    libcriterion-dev clang-14 clang-format-14 libclang-rt-14-dev llvm-14
    python3-pip python3-pytest python3-setuptools python3-venv python3-wheel python3-yaml
    redis-server redis-tools
    # certificates for the tests of TLS, made as they run
    openssl
    # builds h2spec, HTTP/2's conformance suite
    golang-go
    # load generators and the baseline that the benchmarks are measured against
    nghttp2-client nginx-light wrk
    # for Triton, which tests/bench/peers.sh measures
    libpython3.11
)

packages_of() {
    case $1 in
        build) printf '%s\n' "${build[@]}" ;;
        run) printf '%s\n' "${build[@]}" "${run[@]}" ;;
        test) printf '%s\n' "${build[@]}" "${run[@]}" "${test[@]}" ;;
        *) echo "packages.sh: no group '$1': build, run or test" >&2; exit 2 ;;
    esac
}

missing_of() {
    local installed
    installed=$(dpkg-query -W -f='${db:Status-Status} ${Package}\n' | sed -n 's/^installed //p' | sort -u)
    packages_of "$1" | sort -u | comm -23 - <(echo "$installed")
}

main() {
    if [[ ${1-} == --list ]]; then
        packages_of "${2-}"
        return
    fi
    packages_of "${1-}" >/dev/null
    local missing
    mapfile -t missing < <(missing_of "$1")
    if ((${#missing[@]} == 0)); then
        echo "every package is there"
        return
    fi
    if ((EUID != 0)); then
        echo "packages.sh: not root; have root run: apt-get install ${missing[*]}" >&2
        exit 1
    fi
    export DEBIAN_FRONTEND=noninteractive
    apt-get update
    apt-get install -y --no-install-recommends "${missing[@]}"
}

main "$@"
