#!/bin/sh
# Checks that every C and C++ source is as clang-format 14 would write it; prints the files that differ.
#
#   format.sh [FILE ...]       default: the sources of gateway/, containers/c/ and tests/
#
# Headers are contracts laid out by hand: their tables and drawings are not for a formatter.
set -u
cd "$(dirname "$0")/../.." || exit 1
if [ $# -eq 0 ]; then
    # No name of ours has a space in it.
    set -- $(find gateway containers/c tests -name '*.c' -o -name '*.cc' | sort)
fi

differ=0
for file in "$@"; do
    if ! clang-format-14 --style=file --dry-run -Werror "$file" >/dev/null 2>&1; then
        echo "$file"
        differ=$((differ + 1))
    fi
done
echo "$# files, $differ to be formatted: clang-format-14 -i FILE"
[ "$differ" -eq 0 ]
