#!/usr/bin/env bash
# Installs what the tests need, builds, and runs every test through CTest.
#
#   tests/run.sh                everything: release, debug (ASan+UBSan), tsan, clang (build only), fuzz
#   tests/run.sh --quick        the release preset only
#   tests/run.sh --only PRESET  one of: release debug tsan clang fuzz (may be given more than once)
#   tests/run.sh --no-install   leave the machine's packages alone
#
# Environment: FUZZ_SECONDS (60: how long each fuzz target runs), JOBS (the cores).
set -uo pipefail
cd "$(dirname "$0")/.." || exit

JOBS=${JOBS:-$(nproc)}
FUZZ_SECONDS=${FUZZ_SECONDS:-60}
LOGS=$PWD/build/test-logs
presets=() install=true
# shellcheck source=tests/support/steps.sh
source tests/support/steps.sh

usage() { sed -n '2,/^set/{/^set/!s/^# \{0,1\}//p}' "$0"; }

while (($#)); do
    case $1 in
        --quick) presets=(release) ;;
        --only) presets+=("${2:?--only needs a preset}"); shift ;;
        --no-install) install=false ;;
        --help | -h) usage; exit ;;
        *) echo "tests/run.sh: cannot make sense of $1; try --help" >&2; exit 2 ;;
    esac
    shift
done
((${#presets[@]})) || presets=(release clang debug tsan fuzz)

# What CTest counted, where it ran.
said_by() { grep -E '% tests passed' "$1" | tail -n 1; }

build() { # PRESET
    step "$1: configure" cmake --preset "$1" && step "$1: build" cmake --build --preset "$1" -j "$JOBS"
}

suite() { # PRESET [CTEST-ARGUMENT...]
    local preset=$1
    shift
    build "$preset" && step "$preset: tests" ctest --preset "$preset" -j "$JOBS" --output-on-failure "$@"
}

# Every target with its corpus, so long, JOBS at a time. New inputs, and those that crash, stay outside the checkout.
fuzz() {
    build fuzz || return
    # shellcheck disable=SC2016
    step "fuzz: $FUZZ_SECONDS s a target" bash -c '
        cd "$1" && shift
        printf "%s\n" "$@" | xargs -P "$JOBS" -I TARGET bash -c '\''
            name=$(basename TARGET); mkdir -p "$FOUND/$name"
            TARGET -max_total_time="$FUZZ_SECONDS" -timeout=10 -rss_limit_mb=2048 -print_final_stats=0 \
                -artifact_prefix="$FOUND/$name-" "$FOUND/$name" "$CORPUS/$name" >"$FOUND/$name.log" 2>&1 ||
                { echo "$name failed:"; tail -n 60 "$FOUND/$name.log"; exit 255; }
            echo "$name: $(tail -n 1 "$FOUND/$name.log")"
        '\''' fuzz "$PWD" "$PWD"/build/fuzz/tests/*_fuzz
}

main() {
    local preset started=$SECONDS
    mkdir -p "$LOGS"
    export ASAN_OPTIONS=abort_on_error=1:detect_leaks=1 UBSAN_OPTIONS=print_stacktrace=1
    export LSAN_OPTIONS=suppressions=$PWD/tests/lsan.supp:print_suppressions=0
    export JOBS FUZZ_SECONDS CORPUS=$PWD/tests/fuzz/corpus
    if $install; then
        step "packages" deploy/packages.sh test || return
    fi
    for preset in "${presets[@]}"; do
        case $preset in
            release | debug | tsan) suite "$preset" ;;
            clang) build clang ;;
            fuzz) FOUND=$(mktemp -d) && export FOUND && fuzz && rm -rf "$FOUND" ;;
            *) echo "tests/run.sh: no preset $preset" >&2; return 2 ;;
        esac
    done
    conclude $((SECONDS - started))
}

main
