#!/usr/bin/env bash
# grpcurl, which calls any gRPC server by what that says of itself: builds it with Go, pinned by tests/support/grpcurl/go.mod.
#
#   tests/support/grpcurl.sh build        prints the path of the program; status 77 and the reason where it cannot be had
#   tests/support/grpcurl.sh ARGUMENT...  runs it
#
# It is kept in build/tools. v1.8.7 is the newest that Debian's Go can build.
set -euo pipefail
cd "$(dirname "$0")/grpcurl"

PROGRAM=$(realpath -m ../../../build/tools/grpcurl)
UNAVAILABLE=77 # CTest's and Automake's word for "skipped"

find_go() { command -v go || ls -d /usr/lib/go*/bin/go 2>/dev/null | tail -n 1 | grep .; }

build() {
    local go log
    [[ -x $PROGRAM && $PROGRAM -nt go.sum ]] && return
    go=$(find_go) || { echo "grpcurl needs Go to be built (apt-get install golang-go)" >&2; return $UNAVAILABLE; }
    mkdir -p "$(dirname "$PROGRAM")"
    log=$(mktemp)
    if ! timeout 500 env GOFLAGS=-mod=readonly GOTOOLCHAIN=local "$go" build -o "$PROGRAM" \
        github.com/fullstorydev/grpcurl/cmd/grpcurl >"$log" 2>&1; then
        echo "grpcurl cannot be built: $(tail -n 1 "$log")" >&2
        rm -f "$log"
        return $UNAVAILABLE
    fi
    rm -f "$log"
}

case ${1---help} in
    build) build && echo "$PROGRAM" ;;
    --help) sed -n "2,7s/^# \{0,1\}//p" ../grpcurl.sh ;;
    *) build && exec "$PROGRAM" "$@" ;;
esac
