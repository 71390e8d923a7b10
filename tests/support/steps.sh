# steps.sh: what scripts that run many tests have in common. For `source`; needs LOGS, a folder.
#
#   step NAME COMMAND...               runs it with its output in a log; a line every ten seconds; the log's end if it fails
#   report NAME SECONDS STATUS LOG     counts one that ran elsewhere
#   conclude SECONDS                   the table of all, and whether none failed
#
# said_by LOG prints what is told of a step that passed: a script may have its own.
passed=0 failed=0 summary=()

said_by() { tail -n 1 "$1" | tr -d '\r'; }

step() {
    local name=$1 log=$LOGS/${1//[ \/:]/-}.log started=$SECONDS shown=$SECONDS pid status=0
    shift
    printf '%-34s ...\n' "$name"
    "$@" >"$log" 2>&1 </dev/null &
    pid=$!
    while kill -0 "$pid" 2>/dev/null; do
        sleep 0.2
        if ((SECONDS - shown >= 10)); then
            shown=$SECONDS
            printf '%-34s %d s: %.80s\n' "$name" $((SECONDS - started)) "$(tail -n 1 "$log" | tr -d '\r')"
        fi
    done
    wait "$pid" || status=$?
    if ((status == 0)); then
        printf '%-34s ok, %d s: %.80s\n' "$name" $((SECONDS - started)) "$(said_by "$log")"
    else
        printf '%-34s FAILED with status %d; the end of %s:\n' "$name" "$status" "$log"
        tail -n 80 "$log"
        echo "---"
    fi
    report "$name" $((SECONDS - started)) "$status" "$log"
    return "$status"
}

report() {
    if (($3 == 0)); then
        passed=$((passed + 1))
        summary+=("$(printf 'ok      %5d s  %s' "$2" "$1")")
    else
        failed=$((failed + 1))
        summary+=("$(printf 'FAILED  %5d s  %s (all of it: %s)' "$2" "$1" "$4")")
    fi
}

conclude() {
    printf '\n%s\n' "what was run, $1 s in all"
    printf '  %s\n' "${summary[@]}"
    echo "$passed passed, $failed failed"
    ((failed == 0))
}
