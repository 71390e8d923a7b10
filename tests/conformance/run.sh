#!/usr/bin/env bash
# Asks any server whether it speaks the Open Inference Protocol, version 2: tests/conformance/run.sh --help. REST needs Python 3.9 or
# later and nothing else; for --grpc pinned packages are put into a virtual environment under build/venv, once.
#
#   tests/conformance/run.sh --prepare     does that alone, and prints the path of its Python
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
python=/usr/bin/python3
[[ -x $python ]] || python=python3

# The scheme of tests/support/xebec_testing/venv.py: build/venv/NAME-HASH, complete once `complete` is there.
prepare() {
    local home
    home=$here/../../build/venv/conformance-$(sha256sum <"$here/requirements.txt" | cut -c 1-12)
    mkdir -p "$(dirname "$home")"
    exec 9>"$home.lock"
    flock 9
    if [[ ! -e $home/complete ]]; then
        echo "conformance: installing grpcio" >&2
        "$python" -m venv --clear "$home"
        "$home/bin/pip" install --quiet --retries 1 -r "$here/requirements.txt" >&2
        touch "$home/complete"
    fi
    exec 9>&-
    (cd "$home" && echo "$PWD/bin/python")
}

case " $* " in
    *" --prepare "*) prepare; exit ;;
    *" --grpc"*) python=$(prepare) ;;
esac
PYTHONPATH=$here exec "$python" -m oip "$@"
