#!/usr/bin/env bash
# Builds every image and drives the deployment for real: a real engine, a real Redis, under load, every answer counted.
#
#   tests/compose/run.sh                  everything
#   tests/compose/run.sh SCENARIO ...     only these of drive.py; `tests/compose/drive.py --list` names them
#
# Needs a Docker engine and Compose (docker-compose 1.29, or COMPOSE="docker compose"), root, and what tests/run.sh needs.
# Leaves nothing behind but images, named xebec-test/..., and the engine's build cache.
set -uo pipefail
cd "$(dirname "$(readlink -f "$0")")/../.." || exit

export XEBEC_IMAGES=xebec-test DOCKER_BUILDKIT=0 COMPOSE_DOCKER_CLI_BUILD=0 COMPOSE_PROJECT_NAME=xebec-test
export CA_CERTIFICATES=${CA_CERTIFICATES-$(deploy/extra-cas.sh)}
readonly BASE=debian:bookworm-slim MIB_OVER_BASE=150 PROMETHEUS=prom/prometheus:v2.42.0
read -ra COMPOSE <<<"${COMPOSE:-$(command -v docker-compose >/dev/null && echo docker-compose || echo docker compose)}"
LOGS=$PWD/build/test-logs/compose
# shellcheck source=tests/support/steps.sh
source tests/support/steps.sh

build() { "${COMPOSE[@]}" build; }

binary_of() { # IMAGE -> the digest of its xebec
    local container
    container=$(docker create "$1")
    docker cp "$container:/usr/local/bin/xebec" - | tar -xO | sha256sum
    docker rm "$container" >/dev/null
}

# Built from nothing once more: the same sources and packages give the same binary.
gateway_is_reproducible() {
    docker build -q --no-cache --target build -t xebec-test/gateway-again . &&
        docker run --rm xebec-test/gateway-again sha256sum /build/xebec | cut -d' ' -f1 >"$LOGS/again" &&
        binary_of xebec-test/gateway | cut -d' ' -f1 | tee "$LOGS/first" && cmp "$LOGS/first" "$LOGS/again"
}

gateway_is_small() {
    local base whole
    base=$(docker image inspect --format '{{.Size}}' "$BASE")
    whole=$(docker image inspect --format '{{.Size}}' xebec-test/gateway)
    echo "$(((whole - base) >> 20)) MiB over $BASE"
    (((whole - base) >> 20 < MIB_OVER_BASE))
}

promtool() {
    docker run --rm --entrypoint promtool --workdir /deploy/prometheus -v "$PWD/deploy/prometheus:/deploy/prometheus:ro" \
        -v "$PWD/tests/compose:/tests:ro" "$PROMETHEUS" "$@"
}

rules_are_right() {
    promtool check config prometheus.yml && promtool test rules /tests/alerts_test.yml
}

scenarios() { # SCENARIO ...: on the screen as they go
    local log=$LOGS/scenarios.log started=$SECONDS status=0
    /usr/bin/python3 -u tests/compose/drive.py "$@" | tee "$log" || status=$?
    report "scenarios" $((SECONDS - started)) "$status" "$log"
}

# What the engine still has of ours, whatever ended this script.
clean_up() {
    local label=com.docker.compose.project=xebec-test
    docker ps -aq --filter "label=$label" | xargs -r docker rm -fv >/dev/null 2>&1 || true
    docker network ls -q --filter "label=$label" | xargs -r docker network rm >/dev/null 2>&1 || true
    docker volume ls -q --filter "label=$label" | xargs -r docker volume rm >/dev/null 2>&1 || true
    docker stack rm xebec-test-swarm >/dev/null 2>&1 && docker swarm leave --force >/dev/null 2>&1 || true
}

main() {
    local started=$SECONDS
    if ! docker info >/dev/null 2>&1; then
        echo "tests/compose/run.sh: no Docker engine answers" >&2
        exit 1
    fi
    mkdir -p "$LOGS"
    trap clean_up EXIT
    step "build images" build
    if (($# == 0)); then
        step "gateway: same binary again" gateway_is_reproducible
        step "gateway: size" gateway_is_small
        step "prometheus: configuration, alerts" rules_are_right
        if [[ -x tests/compose/images.sh ]]; then step "images" tests/compose/images.sh; fi
    fi
    if ((failed == 0)); then scenarios "$@"; fi
    conclude $((SECONDS - started))
}

main "$@"
