#!/bin/bash
# Builds the images of containers/ and runs each one as an operator should: not root, read-only root, no capabilities.
# Each is asked for its health, its description and a prediction, and must end within 5 s of SIGTERM with status 0.
#
#   tests/compose/images.sh [NAME ...]     python sklearn onnx mlflow c; all of them without an argument
#
# Environment: IMAGES (xebec-test: the prefix of the images' names). Without an engine it is skipped, aloud.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/../.."

readonly IMAGES=${IMAGES:-xebec-test} RUN=xebec-images-$$ STOP_SECONDS=5 HEALTHY_SECONDS=60
export DOCKER_BUILDKIT=0 CA_CERTIFICATES
CA_CERTIFICATES=$(deploy/extra-cas.sh)
WORK=$(mktemp -d)
FAILED=0

main() {
    if ! docker info >/dev/null 2>&1; then
        echo "images.sh: SKIPPED: there is no Docker engine here"
        return
    fi
    colours
    trap clean_up EXIT
    chmod 755 "$WORK"
    (($#)) || set -- python sklearn onnx mlflow c
    local name
    build python # whose Python asks the others
    for name; do
        [[ $name == python ]] || build "$name"
        "check_$name"
    done
    ((FAILED == 0)) || { say FAILED "$FAILED checks" "$RED"; exit 1; }
}

# --- what the user sees ------------------------------------------------------------------------------

colours() {
    GREEN='' RED='' PLAIN=''
    if [[ -t 1 && -z ${NO_COLOR-} ]]; then GREEN=$'\e[32m' RED=$'\e[31m' PLAIN=$'\e[0m'; fi
}

say() { printf '%s%-7s%s %s\n' "${3-}" "$1" "$PLAIN" "$2"; }

# expect WHAT GOT WANTED: an extended regular expression
expect() {
    if [[ $2 =~ $3 ]]; then
        say ok "$1" "$GREEN"
    else
        say FAILED "$1: wanted $3, got: $2" "$RED"
        FAILED=$((FAILED + 1))
    fi
}

clean_up() {
    docker ps -aq --filter "name=$RUN" | xargs -r docker rm -f >/dev/null
    # What containers wrote there is theirs.
    docker run --rm -u 0 -v "$WORK:/work" --entrypoint sh "$IMAGES/python" -c 'rm -rf /work/*' 2>/dev/null || true
    rm -rf "$WORK"
}

# --- images --------------------------------------------------------------------------------------------

# build NAME [ARGUMENT...]: as $IMAGES/NAME; the Dockerfile is that of the folder NAME, a -suffix aside
build() {
    local name=$1 log=$WORK/build.log since=$SECONDS
    shift
    if ! timeout 600 docker build --build-arg CA_CERTIFICATES --build-arg PIP_INDEX_URL --build-arg PIP_EXTRA_INDEX_URL \
        "$@" -f "containers/${name%%-*}/Dockerfile" -t "$IMAGES/$name" . >"$log" 2>&1; then
        tail -n 30 "$log"
        say FAILED "$name does not build" "$RED"
        exit 1
    fi
    say built "$name in $((SECONDS - since)) s, $(size_of "$IMAGES/$name") MB, $(size_of "$(base_of "$name")") of them its base"
    if [[ $name != *-* ]]; then expect "$name has no compiler" "$(in_image "$name" 'command -v cc gcc g++ protoc || echo none')" '^none$'; fi
}

size_of() { echo $(($(docker image inspect -f '{{.Size}}' "$1") / 1000000)); }
base_of() { if [[ $1 == c* ]]; then echo debian:bookworm-slim; else echo python:3.11-slim-bookworm; fi; }
in_image() { docker run --rm --entrypoint sh "$IMAGES/$1" -c "$2"; }

# derive NAME: builds $IMAGES/NAME of the Dockerfile on standard input, in the context $WORK
derive() { docker build -q -t "$IMAGES/$1" -f - "$WORK" >"$WORK/build.log" 2>&1 || { tail "$WORK/build.log"; exit 1; }; }

# --- containers ----------------------------------------------------------------------------------------

# start IMAGE [ARGUMENT...] with OPTIONS (of docker run): -> ID, once it is healthy
start() {
    local image=$1 status='' deadline=$((SECONDS + HEALTHY_SECONDS))
    shift
    ID=$(docker run -d --name "$RUN-$RANDOM" --read-only --cap-drop ALL --security-opt no-new-privileges "${OPTIONS[@]}" \
        "$IMAGES/$image" "$@")
    until [[ $status == healthy ]]; do
        status=$(docker inspect -f '{{if .State.Running}}{{.State.Health.Status}}{{else}}ended{{end}}' "$ID")
        if [[ $status == ended ]] || ((SECONDS > deadline)); then
            docker logs "$ID"
            say FAILED "$image is $status, not healthy" "$RED"
            exit 1
        fi
        sleep 0.2
    done
    expect "$image is healthy, and not root" "$(docker exec "$ID" id -u)" '^10001$'
}

# ask INPUT=JSON...: what the worker answers, asked from beside it
ask() {
    docker run --rm -i --name "$RUN-$RANDOM" --network "container:$ID" -v "$PWD/tests/compose/ask_worker.py:/ask.py:ro" \
        "$IMAGES/python" /ask.py 127.0.0.1:9000 "$@" 2>&1
}

# stop IMAGE: SIGTERM
stop() {
    local since=$EPOCHREALTIME tenths
    docker stop -t 20 "$ID" >/dev/null
    tenths=$(((${EPOCHREALTIME/./} - ${since/./}) / 100000))
    expect "$1 ended with status $(docker inspect -f '{{.State.ExitCode}}' "$ID") after $tenths tenths of a second" \
        "$(docker inspect -f '{{.State.ExitCode}}' "$ID") $((tenths < STOP_SECONDS * 10))" '^0 1$'
}

# make IMAGE: runs the Python on standard input in an image, in $WORK
make() { docker run --rm -i -u 0 -v "$WORK:/work" -w /work --entrypoint python "$IMAGES/$1" -; }

# --- what each must do ---------------------------------------------------------------------------------

check_python() {
    mkdir "$WORK/python"
    cat >"$WORK/python/model.py" <<'PYTHON'
import time
from xebec_worker import Tensor, serve

def predict(x):
    time.sleep(float(x.max()))
    return {"y": x * 2}

serve(predict, inputs={"x": Tensor("FP32", [-1])}, outputs={"y": Tensor("FP32", [-1])}, files=[__file__])
PYTHON
    OPTIONS=(-v "$WORK/python:/model:ro" -e XEBEC_NAME=slow -e XEBEC_VERSION=1)
    start python
    expect "python runs a mounted model.py" "$(ask x='[0.25, 0.5]')" '"health": "SERVING", "version": "slow@1".*"y": \[0.5, 1.0\]'
    ask x='[2]' >"$WORK/answer" &
    local asking=$!
    sleep 1 # the call is in flight: it takes 2 s
    stop python
    wait "$asking" || true
    expect "python answered the call that was in flight" "$(cat "$WORK/answer")" '"y": \[4.0\]'
}

check_sklearn() {
    docker run --rm -u 0 -v "$WORK:/work" -v "$PWD/deploy:/deploy:ro" --entrypoint python "$IMAGES/sklearn" \
        /deploy/train_digits.py /work/digits >/dev/null
    OPTIONS=(-v "$WORK/digits:/model:ro" -e XEBEC_MODEL_PATH=/model/forest.joblib)
    start sklearn --name digits --version forest --input pixels:FP32:-1,64
    local zero='0,0,5,13,9,1,0,0,0,0,13,15,10,15,5,0,0,3,15,2,0,11,8,0,0,4,12,0,0,8,8,0,0,5,8,0,0,9,8,0,0,4,11,0,1,12,7,0,0,2,14,5,10,12,0,0,0,0,6,13,10,0,0,0'
    expect "sklearn knows a zero" "$(ask "pixels=[[$zero]]")" '"version": "digits@forest".*"label": \[0\]'
    stop sklearn

    derive sklearn-derived <<DOCKERFILE
FROM $IMAGES/sklearn
COPY digits/linear.joblib /model/
ENV XEBEC_NAME=digits XEBEC_VERSION=linear
DOCKERFILE
    OPTIONS=()
    start sklearn-derived
    expect "three lines make an image of it" "$(ask "features=[[$zero]]")" '"version": "digits@linear".*"label": \[0\]'
    stop sklearn-derived
}

check_onnx() {
    build onnx-maker --build-arg REQUIREMENTS="onnx==1.22.0 ml_dtypes==0.6.0 protobuf==5.29.6"
    make onnx-maker <<'PYTHON'
import os
from onnx import TensorProto, helper as h, save
os.makedirs("onnx", exist_ok=True)
save(h.make_model(h.make_graph(
    [h.make_node("StringNormalizer", ["text"], ["loud"], case_change_action="UPPER")], "shout",
    [h.make_tensor_value_info("text", TensorProto.STRING, ["n"])], [h.make_tensor_value_info("loud", TensorProto.STRING, ["n"])]),
    opset_imports=[h.make_opsetid("", 17)], ir_version=9), "onnx/shout.onnx")
PYTHON
    OPTIONS=(-v "$WORK/onnx:/model:ro" -e XEBEC_JOBS=2)
    start onnx --name shout --version 1
    expect "onnx runs a model of text" "$(ask text='["sea", "ship"]')" '"graph": "shout".*"loud": \["SEA", "SHIP"\]'
    stop onnx
}

check_mlflow() {
    make mlflow 2>/dev/null <<'PYTHON'
import mlflow.sklearn
from mlflow.models import infer_signature
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
flowers, kinds = load_iris(return_X_y=True, as_frame=True)
flowers.columns = ["a", "b", "c", "d"]
fitted = LogisticRegression(max_iter=500).fit(flowers, kinds)
mlflow.sklearn.save_model(fitted, "iris", signature=infer_signature(flowers, fitted.predict(flowers)), metadata={"team": "flora"})
PYTHON
    OPTIONS=(-v "$WORK/iris:/model:ro")
    start mlflow --name iris --version 1
    expect "mlflow knows two flowers" "$(ask a='[5.1, 6.3]' b='[3.5, 3.3]' c='[1.4, 6.0]' d='[0.2, 2.5]')" \
        '"metadata.team": "flora".*"output": \[0, 2\]'
    stop mlflow
}

check_c() {
    OPTIONS=()
    start c --name echo --version 1 --input x:FP32:-1,2
    expect "c echoes" "$(ask x='[[1, 2], [3, 4]]')" '"version": "echo@1".*"x": \[\[1.0, 2.0\], \[3.0, 4.0\]\]'
    stop c

    build c-sdk --target sdk
    cp containers/c/examples/double.c "$WORK/"
    derive c-derived <<DOCKERFILE
FROM $IMAGES/c-sdk AS build
COPY double.c /src/
RUN cc -O2 -o /usr/local/bin/double /src/double.c -lxebec_worker -lgrpc -lgpr -pthread
FROM $IMAGES/c
COPY --from=build /usr/local/bin/double /usr/local/bin/
ENTRYPOINT ["double"]
DOCKERFILE
    start c-derived
    expect "a model in C, built with the SDK's image" "$(ask x='[1.5, -2]')" '"version": "double@1".*"y": \[3.0, -4.0\]'
    stop c-derived
}

main "$@"
