#!/usr/bin/env bash
# Hit rates on each trace in a folder, at 0.1 %, 1 % and 10 % of the bytes that it touches, bodies
# alone weighed. Needs jq. SEAWALL names another binary than the release build.
set -euo pipefail
traces=${1:?a folder of traces}
seawall=${SEAWALL:-${CARGO_TARGET_DIR:-target}/release/seawall}
command -v "$seawall" >/dev/null || { echo "$seawall is missing: cargo build --release" >&2; exit 69; }
command -v jq >/dev/null || { echo "jq is missing: apt-get install jq" >&2; exit 69; }

replay() {
    "$seawall" replay --trace "$1" --weigh body --json "${@:2}"
}

shopt -s nullglob
all=("$traces"/*.csv.zst "$traces"/*.csv "$traces"/*.csv.gz)
[ ${#all[@]} -gt 0 ] || { echo "$traces has no *.csv, *.csv.zst or *.csv.gz" >&2; exit 64; }

printf '| trace | memory | policy | objects %% | bytes %% |\n|---|--:|---|--:|--:|\n'
for trace in "${all[@]}"; do
    name=$(basename "$trace")
    # What is no trace may lie beside them.
    if ! read=$(replay "$trace" --memory 1MiB); then
        echo "$name is left out" >&2
        continue
    fi
    footprint=$(jq .log.footprint <<<"$read")
    for divisor in 1000 100 10; do
        memory=$((footprint / divisor))
        {
            replay "$trace" --memory "$memory" --compare |
                jq -c '([{policy: "Seawall", hit_ratio, byte_hit_ratio}] + .peers)[]'
            for optimise in requests bytes; do
                # With anything set the configuration counts, and with it its bound on objects.
                replay "$trace" --memory "$memory" --set "cache.optimise=$optimise" \
                    --set cache.memory=1TiB --set cache.max_object_size=64GiB |
                    jq -c --arg policy "Seawall, $optimise" '{policy: $policy, hit_ratio, byte_hit_ratio}'
            done
        } | jq -r --arg name "${name%%.csv*}" --arg share "1/$divisor" '
            def percent: . * 1000 | round / 10 | tostring | if test("[.]") then . else . + ".0" end;
            "| \($name) | \($share) | \(.policy) | \(.hit_ratio | percent) | \(.byte_hit_ratio | percent) |"'
    done
done
