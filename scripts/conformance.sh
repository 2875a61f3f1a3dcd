#!/usr/bin/env bash
# Runs the public suite against both profiles and prints both scores; fails below what the README
# promises. Called by `make conformance`, which sets the variables.
set -euo pipefail
: "${CACHE_TESTS_DIR:?}" "${SCORER:?}" "${ORIGIN_PORT:?}" "${PROXY_PORT:?}"

out=$(mktemp -d)
proxy=
cleanup() {
    [ -z "$proxy" ] || kill "$proxy" 2>/dev/null || true
    rm -rf "$out"
}
trap cleanup EXIT

# Who answers there must be ours: a proxy that could not have the port has ended.
wait_for_port() {
    for _ in {1..100}; do
        kill -0 "$proxy" 2>/dev/null || return 1
        if (exec 3<>"/dev/tcp/127.0.0.1/$PROXY_PORT") 2>/dev/null; then
            kill -0 "$proxy" 2>/dev/null
            return
        fi
        sleep 0.1
    done
    return 1
}

# profile NAME MIN_REQUIRED MIN_OPTIMAL [ARGUMENT…]
profile() {
    local name=$1 required=$2 optimal=$3 status=0
    shift 3
    ./target/release/seawall serve "$@" \
        --origin "http://127.0.0.1:$ORIGIN_PORT" --listen "127.0.0.1:$PROXY_PORT" \
        >"$out/$name.log" 2>&1 &
    proxy=$!
    wait_for_port || { cat "$out/$name.log" >&2; return 1; }
    printf '%-10s ' "$name:"
    CACHE_TESTS_DIR=$CACHE_TESTS_DIR node "$SCORER" run "http://127.0.0.1:$PROXY_PORT" \
        --origin-port "$ORIGIN_PORT" --out "$out/$name.json" \
        --min-required "$required" --min-optimal "$optimal" || status=$?
    kill "$proxy"
    wait "$proxy" || true
    proxy=
    return "$status"
}

status=0
profile defaults 154 86 || status=1
profile suite 160 105 --config config/examples/cache-tests.toml || status=1
exit "$status"
