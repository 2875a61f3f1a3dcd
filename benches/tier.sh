#!/bin/bash
# What Redis behind memory costs and gains, through real sockets, as Markdown tables: memory hits with
# and without Redis configured, a hit in Redis beside a fetch from the origin, and what an object takes
# in Redis. The origin is the load generator's own, on the same machine: it answers at once, so that
# the figures are those of the way there; ORIGIN_LATENCY makes it slower.
#
#   env: SEAWALL (target/release/seawall), ROUNDS (6), REQUESTS (60000), OBJECTS (2000),
#        SIZES ("1KiB 16KiB 256KiB"), ORIGIN_LATENCY (0s)
set -euo pipefail

SEAWALL=${SEAWALL:-target/release/seawall}
ROUNDS=${ROUNDS:-6} REQUESTS=${REQUESTS:-60000} OBJECTS=${OBJECTS:-2000}
SIZES=${SIZES:-1KiB 16KiB 256KiB} ORIGIN_LATENCY=${ORIGIN_LATENCY:-0s}
REDIS_PORT=19200 ORIGIN_PORT=19201 ALONE_PORT=19202 ONE_PORT=19203 TWO_PORT=19204

for tool in redis-server redis-cli python3; do
  command -v "$tool" > /dev/null || { echo "$tool is needed (Debian: apt install redis-server python3)"; exit 64; }
done
[ -x "$SEAWALL" ] || { echo "no program at $SEAWALL: cargo build --release"; exit 64; }

work=$(mktemp -d)
declare -A pid=()
finish() { kill "${pid[@]}" 2> /dev/null || true; rm -rf "$work"; }
trap finish EXIT

listening() {
  for _ in $(seq 100); do (exec 3<> "/dev/tcp/127.0.0.1/$1") 2> /dev/null && return; sleep 0.1; done
  echo "nothing listens on port $1:"; tail -n 5 "$work/log"; exit 70
}

redis-server --port "$REDIS_PORT" --bind 127.0.0.1 --save "" --appendonly no --dir "$work" >> "$work/log" 2>&1 &
pid[redis]=$!
listening "$REDIS_PORT"
redis() { redis-cli -p "$REDIS_PORT" "$@" | tr -d '\r'; }

# A node: its name, its port, and what its file says beside its origin.
node() {
  printf '%s\n' "$3" > "$work/$1.toml"
  "$SEAWALL" serve --config "$work/$1.toml" --origin "http://127.0.0.1:$ORIGIN_PORT" --memory 1GiB \
    --listen "127.0.0.1:$2" --admin-listen off --access-log off >> "$work/log" 2>&1 &
  pid[$1]=$!
  listening "$2"
}
gone() { kill "${pid[$1]}"; wait "${pid[$1]}" 2> /dev/null || true; unset "pid[$1]"; }

# What a node is asked: its port, requests, objects, their size, at once; the bench's JSON.
ask() {
  "$SEAWALL" bench "http://127.0.0.1:$1" --with-origin "127.0.0.1:$ORIGIN_PORT" --threads 1 \
    --origin-latency "$ORIGIN_LATENCY" --requests "$2" --urls "$work/urls" --size "$4" -c "$5" --json
}
# By the name of one site: the nodes have ports of their own.
urls() { seq -f 'http://site.example/%g' 1 "$1" > "$work/urls"; }
ticks() { sed 's/.*) //' "/proc/$1/stat" | awk '{ print $12 + $13 }'; }
# A latency in microseconds, of answers of a kind; 0 where there were none.
latency() { python3 -c '
import json, sys
kinds = {kind["verdict"]: kind["latency_ms"] for kind in json.load(sys.stdin)["answers"]}
print(round(1000 * kinds.get(sys.argv[1], {}).get(sys.argv[2], 0)))' "$1" "$2"; }
median() { sort -n | awk '{ all[NR] = $1 } END { print all[int((NR + 1) / 2)] }'; }

tier="[redis]
url = \"redis://127.0.0.1:$REDIS_PORT\"
lookup_budget = \"1s\""

echo "Memory hits of 1 KiB, $ROUNDS rounds of $REQUESTS twice each, interleaved:"
echo
echo "| | CPU-s/1M, median | all |"
echo "|---|---|---|"
urls 100
node alone "$ALONE_PORT" ""
node one "$ONE_PORT" "$tier"
for port in "$ALONE_PORT" "$ONE_PORT"; do ask "$port" 2000 100 1KiB 4 > /dev/null; done
for _ in $(seq "$ROUNDS"); do
  # In an order that favours neither, whatever else the machine does.
  for name in one alone alone one; do
    port=$ALONE_PORT; [ "$name" = alone ] || port=$ONE_PORT
    before=$(ticks "${pid[$name]}")
    ask "$port" "$REQUESTS" 100 1KiB 16 > /dev/null
    after=$(ticks "${pid[$name]}")
    echo "$before $after $REQUESTS $(getconf CLK_TCK)" |
      awk '{ printf "%.2f\n", ($2 - $1) / $4 * 1000000 / $3 }' >> "$work/cpu.$name"
  done
done
for name in alone one; do
  what="without Redis"; [ "$name" = alone ] || what="with Redis"
  echo "| $what | $(median < "$work/cpu.$name") | $(tr '\n' ' ' < "$work/cpu.$name")|"
done
gone alone; gone one

echo
echo "$OBJECTS objects, each asked for once, one request at a time (microseconds, p50 and p99):"
echo
echo "| size | from the origin | from Redis | bytes in Redis for each object beside its body |"
echo "|---|---|---|---|"
urls "$OBJECTS"
for size in $SIZES; do
  redis FLUSHALL > /dev/null
  node one "$ONE_PORT" "$tier"
  sleep 1
  empty=$(redis INFO memory | sed -n 's/^used_memory_dataset://p')
  ask "$ONE_PORT" "$OBJECTS" "$OBJECTS" "$size" 1 > "$work/origin.json"
  for _ in $(seq 100); do
    there=$(redis DBSIZE); [ "$there" -ge "$OBJECTS" ] && break; sleep 0.1
  done
  # Leases that have ended go by themselves.
  sleep 2
  full=$(redis INFO memory | sed -n 's/^used_memory_dataset://p')
  node two "$TWO_PORT" "$tier
preload = 0"
  sleep 1
  ask "$TWO_PORT" "$OBJECTS" "$OBJECTS" "$size" 1 > "$work/tier.json"
  bytes=$(python3 -c '
import sys
units = {"KiB": 1024, "MiB": 1 << 20}
size, full, empty, count = sys.argv[1:]
body = int(size[:-3]) * units[size[-3:]]
print(round((int(full) - int(empty)) / int(count) - body))' "$size" "$full" "$empty" "$OBJECTS")
  origin="$(latency miss p50 < "$work/origin.json") / $(latency miss p99 < "$work/origin.json")"
  from_tier="$(latency hit p50 < "$work/tier.json") / $(latency hit p99 < "$work/tier.json")"
  echo "| $size | $origin | $from_tier | $bytes |"
  gone one; gone two
done
