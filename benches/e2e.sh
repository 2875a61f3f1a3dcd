#!/bin/bash
# Memory hits through real sockets: Seawall beside nginx (where it is installed), interleaved, one
# core each for the server and for the load. Prints medians as a Markdown table.
#
#   env: SEAWALL (target/dist/seawall), ROUNDS (5), SECS (3), WORKLOADS ("1k 16k 1m 1k-c1000")
#
# The figure to compare is CPU-s/1M: seconds of CPU, user and system, that the server spends on a
# million requests. Requests per second show the generator's limit as soon as the server is faster.
set -euo pipefail

SEAWALL=${SEAWALL:-target/dist/seawall}
ROUNDS=${ROUNDS:-5} SECS=${SECS:-3} WORKLOADS=${WORKLOADS:-1k 16k 1m 1k-c1000}
ORIGIN_PORT=19101 NGINX_PORT=19102 SEAWALL_PORT=19103

for tool in wrk curl python3 taskset; do
  command -v "$tool" > /dev/null || { echo "$tool is needed (Debian: apt install wrk curl python3 util-linux)"; exit 64; }
done
[ -x "$SEAWALL" ] || { echo "no program at $SEAWALL: cargo build --profile dist"; exit 64; }

work=$(mktemp -d)
pids=()
finish() { kill "${pids[@]}" 2> /dev/null || true; rm -rf "$work"; }
trap finish EXIT

on_core() { local core=$1; shift; taskset -c "$core" "$@" >> "$work/log" 2>&1 & pids+=($!); }
listening() {
  for _ in $(seq 50); do (exec 3<> "/dev/tcp/127.0.0.1/$1") 2> /dev/null && return; sleep 0.1; done
  echo "nothing listens on port $1:"; tail -n 5 "$work/log"; exit 70
}

# The origin says nothing of caching, so both caches are told to keep its files for an hour.
mkdir -p "$work/files" "$work/cache"; chmod 755 "$work"
head -c 1024 /dev/zero | tr '\0' a > "$work/files/1k"
head -c 16384 /dev/zero | tr '\0' a > "$work/files/16k"
head -c 1048576 /dev/zero | tr '\0' a > "$work/files/1m"
on_core 1 python3 -m http.server "$ORIGIN_PORT" --bind 127.0.0.1 --directory "$work/files"
listening "$ORIGIN_PORT"

cat > "$work/seawall.toml" <<TOML
[server]
threads = 1
[cache]
default_lifetime = "1h"
TOML
on_core 0 "$SEAWALL" serve --config "$work/seawall.toml" --origin "http://127.0.0.1:$ORIGIN_PORT" \
  --listen "127.0.0.1:$SEAWALL_PORT" --admin-listen off --access-log off
listening "$SEAWALL_PORT"
declare -A port=([seawall]=$SEAWALL_PORT) pid=([seawall]=${pids[-1]})
servers=(seawall)

if command -v nginx > /dev/null; then
  cat > "$work/nginx.conf" <<NGINX
worker_processes 1; daemon off; pid $work/nginx.pid; error_log $work/nginx.log;
events { worker_connections 8192; }
http {
  access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000000;
  proxy_cache_path $work/cache keys_zone=all:64m inactive=1d; proxy_temp_path $work/temp;
  client_body_temp_path $work/client; fastcgi_temp_path $work/fastcgi;
  uwsgi_temp_path $work/uwsgi; scgi_temp_path $work/scgi; open_file_cache max=1000;
  server {
    listen 127.0.0.1:$NGINX_PORT backlog=4096;
    location / { proxy_pass http://127.0.0.1:$ORIGIN_PORT; proxy_cache all; proxy_cache_valid 200 1h; }
  }
}
NGINX
  on_core 0 nginx -p "$work" -c "$work/nginx.conf"
  listening "$NGINX_PORT"
  port[nginx]=$NGINX_PORT pid[nginx]=${pids[-1]}
  servers=(nginx seawall)
fi

# Ticks of CPU that a server and its workers have used.
ticks() {
  local children; children=$(cat "/proc/$1/task/$1/children")
  for process in $1 $children; do cat "/proc/$process/stat"; done |
    sed 's/.*) //' | awk '{ sum += $12 + $13 } END { print sum }'
}

# One run: "requests-per-second CPU-seconds-per-million".
run() {
  local url="http://127.0.0.1:${port[$1]}/$2" before after out requests
  before=$(ticks "${pid[$1]}")
  out=$(taskset -c 1 wrk -t1 -c"$3" -d"${SECS}s" --timeout 10s "$url")
  after=$(ticks "${pid[$1]}")
  ! grep -q 'Non-2xx\|Socket errors' <<< "$out" || { echo "$1: $out" >&2; exit 70; }
  requests=$(sed -n 's/ *\([0-9]*\) requests in.*/\1/p' <<< "$out")
  awk -v r="$requests" -v s="$SECS" -v t=$((after - before)) -v hz="$(getconf CLK_TCK)" \
    'BEGIN { printf "%d %.2f\n", r / s, t / hz / r * 1e6 }'
}

median() { sort -n "$1" | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }

echo "| workload | server | requests/s | CPU-s/1M |"
echo "|---|---|--:|--:|"
for workload in $WORKLOADS; do
  file=${workload%-c*} connections=64
  [ "$file" = "$workload" ] || connections=${workload#*-c}
  for server in "${servers[@]}"; do
    for _ in 1 2; do curl -sf -o /dev/null "http://127.0.0.1:${port[$server]}/$file"; done
  done
  for _ in $(seq "$ROUNDS"); do
    for server in "${servers[@]}"; do
      read -r rate cpu < <(run "$server" "$file" "$connections")
      echo "$rate" >> "$work/$workload.$server.rate"; echo "$cpu" >> "$work/$workload.$server.cpu"
    done
  done
  for server in "${servers[@]}"; do
    echo "| $workload | $server | $(median "$work/$workload.$server.rate") | $(median "$work/$workload.$server.cpu") |"
  done
done
