#!/usr/bin/env bash
# h2spec, the conformance suite for HTTP/2: builds it with Go, pinned by tests/support/h2spec/go.mod, and runs it.
#
#   tests/support/h2spec.sh build             prints the path of the program; status 77 and the reason where it cannot be had
#   tests/support/h2spec.sh HOST PORT PATH    runs generic, hpack and http2 against a server; PATH is one that replies
#
# It is kept in build/tools. v2.2.1 is the newest that Go's module proxy has; its sections are those of later ones.
set -euo pipefail
cd "$(dirname "$0")/h2spec"

PROGRAM=$(realpath -m ../../../build/tools/h2spec)
UNAVAILABLE=77 # CTest's and Automake's word for "skipped"

find_go() { command -v go || ls -d /usr/lib/go*/bin/go 2>/dev/null | tail -n 1 | grep .; }

build() {
    local go log
    [[ -x $PROGRAM && $PROGRAM -nt go.sum ]] && return
    go=$(find_go) || { echo "h2spec needs Go to be built (apt-get install golang-go)" >&2; return $UNAVAILABLE; }
    mkdir -p "$(dirname "$PROGRAM")"
    log=$(mktemp)
    if ! timeout 300 env GOFLAGS=-mod=readonly GOTOOLCHAIN=local "$go" build -o "$PROGRAM" \
        github.com/summerwind/h2spec/cmd/h2spec >"$log" 2>&1; then
        echo "h2spec cannot be built: $(tail -n 1 "$log")" >&2
        rm -f "$log"
        return $UNAVAILABLE
    fi
    rm -f "$log"
}

case ${1---help} in
    build) build && echo "$PROGRAM" ;;
    --help) sed -n "2,8s/^# \{0,1\}//p" ../h2spec.sh ;;
    *) build && exec "$PROGRAM" generic hpack http2 -h "$1" -p "$2" -P "$3" -o 5 ;;
esac
