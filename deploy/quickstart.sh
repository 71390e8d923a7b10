#!/bin/bash
# From a fresh Debian 12 machine to digits served: packages, build, two models, gateway, report. See --help.
set -euo pipefail
readonly STARTED_IN=$PWD
cd "$(dirname "$(readlink -f "$0")")/.."

readonly PYTHON=/usr/bin/python3 # a private python3 on PATH would not see Debian's python3-* packages
readonly STATE=var/quickstart BUILD=build/quickstart
readonly SOCKETS=/tmp/xebec CLIENTS=127.0.0.1:8080 ADMIN=127.0.0.1:8081 # as in the samples of configs/
CONFIG=configs/quickstart.yaml ENDPOINTS=(digits digits-forest)
readonly READY_SECONDS=60 STOP_SECONDS=12

usage() {
    cat <<'END'
Usage: deploy/quickstart.sh [--once] [--no-install] [--config FILE]

Builds xebec, trains models on scikit-learn's handwritten digits, serves them at 127.0.0.1:8080
(operators: 127.0.0.1:8081), reports accuracy and latency, and goes on serving until Ctrl-C.

  --config FILE serve FILE instead of configs/quickstart.yaml, with the replicas that it names: configs/split.yaml,
                configs/canary.yaml and configs/shadow.yaml (docs/rollouts.md), or a copy of yours of one of them
  --once        stop after the report; the exit status says whether both models were right often enough
  --no-install  leave Debian's packages alone
  --help        this

Logs and models are in var/quickstart.
END
}

main() {
    local once=false install=true
    colours
    while (($#)); do
        case $1 in
            --once) once=true ;;
            --no-install) install=false ;;
            --config) use_config "${2-}"; shift ;;
            --help | -h) usage; return ;;
            *) usage >&2; exit 2 ;;
        esac
        shift
    done
    trap stop_all EXIT
    trap 'echo "quickstart.sh: line $LINENO: $BASH_COMMAND failed" >&2' ERR
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP
    lock
    if $install; then step packages deploy/packages.sh run; fi
    require_free_ports
    step configure cmake --preset release -B "$BUILD" -DXEBEC_TESTS=OFF
    step build cmake --build "$BUILD" --target xebec
    step check "$BUILD/xebec" check --config "$CONFIG"
    step train "$PYTHON" deploy/train_digits.py "$STATE"
    start_everything
    wait_until_ready
    report
    if ! $once; then serve_until_interrupted; fi
}

# A path from where the user stands; we stand elsewhere by now.
use_config() {
    CONFIG=$(cd "$STARTED_IN" && realpath -e -- "$1" 2>/dev/null) || die "--config ${1:-FILE}: there is no such file"
    ENDPOINTS=(digits)
}

# --- what the user sees ------------------------------------------------------------------------------

colours() {
    BOLD='' GREEN='' RED='' PLAIN='' TERMINAL=false
    if [[ -t 1 ]]; then
        TERMINAL=true
        if [[ -z ${NO_COLOR-} && ${TERM-dumb} != dumb ]]; then
            BOLD=$'\e[1m' GREEN=$'\e[32m' RED=$'\e[31m' PLAIN=$'\e[0m'
        fi
    fi
}

say() { printf '%s%-10s%s %s\n' "$BOLD" "$1" "$PLAIN" "$2"; }

die() {
    printf '%squickstart.sh: %s%s\n' "$RED" "$1" "$PLAIN" >&2
    if [[ -s ${2-} ]]; then
        printf '\nThe end of %s:\n\n' "$2" >&2
        tail -n 20 "$2" | sed 's/^/    /' >&2
    fi
    exit 1
}

# Shows that something goes on: each second on a terminal, every ten seconds elsewhere. $1 step, $2 since, $3 what
tick() {
    local elapsed=$((SECONDS - $2))
    if $TERMINAL; then
        printf '\r\e[K%s%-10s%s %3d s  %s' "$BOLD" "$1" "$PLAIN" "$elapsed" "${3:0:$((${COLUMNS:-80} - 22))}"
    elif ((elapsed > 0 && elapsed % 10 == 0 && elapsed != LAST_TICK)); then
        LAST_TICK=$elapsed
        say "$1" "$elapsed s so far: $3"
    fi
}

clear_tick() {
    LAST_TICK=0
    if $TERMINAL; then printf '\r\e[K'; fi
}

# step NAME COMMAND...: runs it to its end; its output goes to a log, whose end is shown if it fails.
step() {
    local name=$1 log=$STATE/$1.log since=$SECONDS status=0
    shift
    if ! $TERMINAL; then say "$name" "..."; fi
    launch "$log" "$@"
    while kill -0 "$PID" 2>/dev/null; do
        if ((SECONDS - since >= 1)); then tick "$name" "$since" "$(tail -n 1 "$log" | tr -d '\r')"; fi
        sleep 0.1
    done
    wait "$PID" || status=$?
    unset "CHILDREN[$PID]"
    clear_tick
    if ((status != 0)); then die "$name failed with status $status" "$log"; fi
    say "$name" "${GREEN}ok${PLAIN}, $((SECONDS - since)) s: $(tail -n 1 "$log")"
}

# --- processes ---------------------------------------------------------------------------------------

declare -A CHILDREN=() # pid -> log
LAST_TICK=0

# launch LOG COMMAND...: in the background; PID is its pid.
# A process group of its own: Ctrl-C reaches this script alone, which then stops what it started, children of
# children too. And should this script be killed, its children get SIGTERM from the kernel.
launch() {
    local log=$1
    shift
    setsid setpriv --pdeathsig TERM "$@" >"$log" 2>&1 </dev/null 9>&- &
    PID=$!
    CHILDREN[$PID]=$log
}

stop_all() {
    local status=$? pid deadline=$((SECONDS + STOP_SECONDS))
    trap '' INT TERM HUP # once is enough
    clear_tick
    for pid in "${!CHILDREN[@]}"; do kill -TERM -- "-$pid" 2>/dev/null || true; done
    for pid in "${!CHILDREN[@]}"; do
        while kill -0 "$pid" 2>/dev/null && ((SECONDS < deadline)); do sleep 0.05; done
        kill -KILL -- "-$pid" 2>/dev/null || true
        wait "$pid" 2>/dev/null || true
    done
    exit "$status"
}

# One quickstart at a time in a checkout.
lock() {
    mkdir -p "$STATE"
    exec 9>>"$STATE/lock"
    if ! flock -n 9; then
        die "already running here, as process $(cat "$STATE/lock"): stop it with Ctrl-C in its terminal, or kill $(cat "$STATE/lock")"
    fi
    echo $$ >"$STATE/lock"
}

require_free_ports() {
    local address who
    for address in "$CLIENTS" "$ADMIN"; do
        if (exec 3<>"/dev/tcp/${address/://}") 2>/dev/null; then
            who=$({ ss -Hltnp "sport = :${address#*:}" 2>/dev/null || true; } | sed -n '/pid=/{s/.*(("\(.*\)",pid=\([0-9]*\),.*/ by \1, process \2/p;q}')
            die "$address is taken${who}: stop that first"
        fi
    done
}

# --- the system --------------------------------------------------------------------------------------

# The models that the configuration has replicas of, each once.
versions() { grep -v '^ *#' "$CONFIG" | grep -o "$SOCKETS/digits-[a-z]*\.sock" | sed 's/.*digits-//; s/\.sock$//' | sort -u; }

start_everything() {
    local version method=predict
    if grep -q '^ *probabilities:' "$CONFIG"; then method=predict_proba; fi
    mkdir -m 700 "$SOCKETS" 2>/dev/null || [[ -d $SOCKETS && -O $SOCKETS ]] ||
        die "$SOCKETS, where the sockets go, is there already and is not a directory of yours"
    for version in $(versions); do
        [[ -e $STATE/$version.joblib ]] || die "$CONFIG names $SOCKETS/digits-$version.sock; there is no model $version, only linear, forest and next"
        launch "$STATE/$version.log" env PYTHONPATH=containers/python/src:containers/sklearn/src \
            "$PYTHON" -m xebec_sklearn --model-file "$STATE/$version.joblib" --name digits --version "$version" \
            --method "$method" --input pixels:FP32:-1,64 --listen "unix:$SOCKETS/digits-$version.sock"
    done
    launch "$STATE/gateway.log" "$BUILD/xebec" serve --config "$CONFIG"
}

wait_until_ready() {
    local since=$SECONDS answer=''
    if ! $TERMINAL; then say start "the replicas and the gateway ..."; fi
    until answer=$(curl -sS --fail-with-body --max-time 2 "http://$ADMIN/health/ready" 2>&1); do
        require_alive
        if ((SECONDS - since >= READY_SECONDS)); then
            die "not ready after $READY_SECONDS s; http://$ADMIN/health/ready says: $answer" "$STATE/gateway.log"
        fi
        if ((SECONDS - since >= 1)); then tick start "$since" "waiting for http://$ADMIN/health/ready"; fi
        sleep 0.1
    done
    clear_tick
    say start "${GREEN}ok${PLAIN}, $((SECONDS - since)) s: $(versions | sed 's/^/digits@/' | paste -sd ' ') and the gateway are ready"
}

require_alive() {
    local pid status=0
    for pid in "${!CHILDREN[@]}"; do
        if ! kill -0 "$pid" 2>/dev/null; then
            wait "$pid" || status=$?
            die "$(basename "${CHILDREN[$pid]}" .log) ended with status $status" "${CHILDREN[$pid]}"
        fi
    done
}

report() {
    "$PYTHON" deploy/quickstart_report.py "http://$CLIENTS" "$STATE/held-out.npz" "${ENDPOINTS[@]}" 9>&- ||
        die "the report is not good" "$STATE/gateway.log"
}

serve_until_interrupted() {
    trap 'exit 0' INT TERM HUP
    say serving "http://$CLIENTS (operators: http://$ADMIN/status, /metrics); Ctrl-C stops everything"
    while sleep 0.5; do require_alive; done
}

main "$@"
