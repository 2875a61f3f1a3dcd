#!/usr/bin/env bash
# Builds target/pgo/seawall: the dist profile, and what its code does most laid out for it
# (profile-guided optimisation). A first build counts while `seawall bench` drives it: by its defaults
# without an access log through hits, TLS, HTTP/2, fills, misses and refreshes, then with a log, rules
# and compression; a second one is made by the counts.
#
#   env: SECONDS_EACH (5) of each kind of work, PGO_TARGET_DIR (target/pgo), PGO_PORT (19120) before
#        three that are free, RUSTFLAGS for both builds
set -euo pipefail
cd "$(dirname "$0")/.."

CARGO=${CARGO:-cargo} SECONDS_EACH=${SECONDS_EACH:-5}
folder=$(realpath -m "${PGO_TARGET_DIR:-target/pgo}")
# 1 for the plain listener, 2 for TLS, 3 for the origin.
port=${PGO_PORT:-19120}
command -v rustc >/dev/null || { echo "rustc is missing: https://rustup.rs" >&2; exit 64; }
machine=$(rustc -vV | sed -n 's/^host: //p')
profdata=$(rustc --print target-libdir)/../bin/llvm-profdata
[ -x "$profdata" ] || { echo "llvm-profdata is missing: rustup component add llvm-tools" >&2; exit 64; }
command -v openssl >/dev/null || { echo "openssl is missing (Debian: apt install openssl)" >&2; exit 64; }
for taken in $((port + 1)) $((port + 2)) $((port + 3)); do
    if (exec 3<>"/dev/tcp/127.0.0.1/$taken") 2>/dev/null; then
        echo "port $taken is taken: PGO_PORT=… names another place, before three that are free" >&2
        exit 64
    fi
done

build() { # What the compiler is told of profiles.
    # With --target, build scripts and macros are none of this.
    RUSTFLAGS="${RUSTFLAGS:-} $1" "$CARGO" build --profile dist --locked --bin seawall --target "$machine" --target-dir "$folder"
}

counts=$folder/counts work=$(mktemp -d) server='' driver=''
finish() {
    for running in $driver $server; do
        { kill "$running" && wait "$running"; } 2>/dev/null || true
    done
    rm -rf "$work"
}
trap finish EXIT

origin=127.0.0.1:$((port + 3)) plain=http://127.0.0.1:$((port + 1)) secure=https://127.0.0.1:$((port + 2))
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=127.0.0.1 \
    -addext subjectAltName=IP:127.0.0.1 -keyout "$work/key.pem" -out "$work/cert.pem" 2>"$work/log" ||
    { tail -n 5 "$work/log" >&2; exit 70; }

rm -rf "$counts"
build "-Cprofile-generate=$counts"
seawall=$work/seawall
cp "$folder/$machine/dist/seawall" "$seawall"
# What building ran of it is not what it is for.
rm -rf "$counts"

serve() { # What its configuration has beside listeners and upstream.
    cat >"$work/seawall.toml" <<TOML
[[listener]]
address = "${plain#*://}"

[[listener]]
address = "${secure#*://}"
tls = { certificates = [{ certificate = "$work/cert.pem", key = "$work/key.pem" }] }

[upstream.origin]
url = "http://$origin"

$1
TOML
    "$seawall" serve --config "$work/seawall.toml" --admin-listen off >"$work/log" 2>&1 &
    server=$!
    for _ in $(seq 100); do
        # Its own word: somebody else may listen there.
        if grep -q "listening on ${plain#*://}" "$work/log"; then return; fi
        kill -0 "$server" 2>/dev/null || break
        sleep 0.1
    done
    echo "Seawall does not listen on ${plain#*://}:" >&2
    tail -n 5 "$work/log" >&2
    exit 70
}

stop() { # The counts are written as it ends.
    kill -TERM "$server"
    wait "$server" || true
    server=''
}

drive() { # A URL and how to ask.
    echo "trained by: $*"
    "$seawall" bench "$@" --with-origin "$origin" --duration "${SECONDS_EACH}s" --insecure >"$work/bench" 2>&1 &
    driver=$!
    wait "$driver" || { tail -n 5 "$work/bench" "$work/log" >&2; exit 70; }
    driver=''
}

serve '[access_log]
format = "off"'
drive "$plain/few" --objects 50 --size 1KiB -c 64
drive "$plain/many" --objects 20000 --size 512B..64KiB -c 32
drive "$plain/large" --objects 20 --size 1MiB -c 8
drive "$plain/new" --objects 1000000 --zipf 0 --size 1KiB..16KiB -c 32
drive "$plain/own" --objects 1000000 --zipf 0 --size 1KiB --origin-cache-control no-store -c 32
drive "$plain/old" --objects 500 --size 4KiB --origin-cache-control 'max-age=1, stale-while-revalidate=5' -c 16
drive "$secure/few" --objects 50 --size 1KiB -c 32 --http 1.1
drive "$secure/many" --objects 5000 --size 512B..64KiB -c 8 --http 2
stop

# What bench plays has no media type that is compressed by itself.
serve "[access_log]
path = \"$work/access.log\"

[[rule]]
match = { host = \"www.example\", path = \"/shop/**\" }
cache.keep = \"1h\"

[[rule]]
match = { path = \"/**/*.html\", cookie = { session = false } }
cache.keep = \"5m\"

[[rule]]
match = { path = \"/text/**\" }
cache.compress = [\"gzip\"]
cache.compress_types = [\"application/octet-stream\"]"
drive "$plain/text" --objects 2000 --size 1KiB..64KiB -c 32 -H 'Accept-Encoding: gzip'
drive "$plain/some" --objects 2000 --size 1KiB..16KiB -c 32
stop

"$profdata" merge --output "$work/profile" "$counts"
mv "$work/profile" "$folder/profile"
# What is hardly ever done stands apart from what is, within functions too: misses go through more code than
# a core's caches hold.
build "-Cprofile-use=$folder/profile -Cllvm-args=-enable-split-machine-functions"
cp "$folder/$machine/dist/seawall" "$folder/seawall"
echo "$folder/seawall"
