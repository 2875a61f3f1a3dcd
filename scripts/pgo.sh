#!/usr/bin/env bash
# Builds target/pgo/seawall: the dist profile, and what its code does most laid out for it
# (profile-guided optimisation). A first build counts while `seawall bench` drives it through hits,
# TLS, HTTP/2, fills, misses and refreshes; a second one is made by the counts.
#
#   env: SECONDS_EACH (5) of each kind of work, PGO_TARGET_DIR (target/pgo)
set -euo pipefail
cd "$(dirname "$0")/.."

CARGO=${CARGO:-cargo} SECONDS_EACH=${SECONDS_EACH:-5}
folder=$(realpath -m "${PGO_TARGET_DIR:-target/pgo}")
# 1 for the plain listener, 2 for TLS, 3 for the origin.
PORT=${PORT:-19120}
machine=$(rustc -vV | sed -n 's/^host: //p')
profdata=$(rustc --print target-libdir)/../bin/llvm-profdata
[ -x "$profdata" ] || { echo "llvm-profdata is missing: rustup component add llvm-tools" >&2; exit 64; }
command -v openssl >/dev/null || { echo "openssl is missing (Debian: apt install openssl)" >&2; exit 64; }

build() { # What the compiler is told of profiles.
    # With --target, build scripts and macros are none of this.
    RUSTFLAGS="$1" "$CARGO" build --profile dist --locked --bin seawall --target "$machine" --target-dir "$folder"
}

counts=$folder/counts work=$(mktemp -d) server=
finish() {
    [ -z "$server" ] || kill "$server" 2>/dev/null || true
    rm -rf "$work"
}
trap finish EXIT
rm -rf "$counts"
build "-Cprofile-generate=$counts"
seawall=$work/seawall
cp "$folder/$machine/dist/seawall" "$seawall"
# What building ran of it is not what it is for.
rm -rf "$counts"

openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=127.0.0.1 \
    -addext subjectAltName=IP:127.0.0.1 -keyout "$work/key.pem" -out "$work/cert.pem" 2>/dev/null
origin=127.0.0.1:$((PORT + 3)) plain=http://127.0.0.1:$((PORT + 1)) secure=https://127.0.0.1:$((PORT + 2))
cat >"$work/seawall.toml" <<TOML
[[listener]]
address = "${plain#*://}"

[[listener]]
address = "${secure#*://}"
tls = { certificates = [{ certificate = "$work/cert.pem", key = "$work/key.pem" }] }

[upstream.origin]
url = "http://$origin"
TOML
"$seawall" serve --config "$work/seawall.toml" --admin-listen off --access-log off >"$work/log" 2>&1 &
server=$!
for _ in $(seq 100); do (exec 3<>"/dev/tcp/127.0.0.1/$((PORT + 1))") 2>/dev/null && break; sleep 0.1; done

drive() { # A URL and how to ask.
    echo "trained by: $*"
    "$seawall" bench "$@" --with-origin "$origin" --duration "${SECONDS_EACH}s" --insecure >>"$work/bench" 2>&1 ||
        { tail -n 5 "$work/bench" "$work/log" >&2; exit 70; }
}
drive "$plain/few" --objects 50 --size 1KiB -c 64
drive "$plain/many" --objects 20000 --size 512B..64KiB -c 32
drive "$plain/large" --objects 20 --size 1MiB -c 8
drive "$plain/new" --objects 1000000 --zipf 0 --size 1KiB..16KiB -c 32
drive "$plain/own" --objects 1000000 --zipf 0 --size 1KiB --origin-cache-control no-store -c 32
drive "$plain/old" --objects 500 --size 4KiB --origin-cache-control 'max-age=1, stale-while-revalidate=5' -c 16
drive "$secure/few" --objects 50 --size 1KiB -c 32 --http 1.1
drive "$secure/many" --objects 5000 --size 512B..64KiB -c 8 --http 2
# The counts are written as it ends.
kill -TERM "$server"
wait "$server" || true
server=

"$profdata" merge --output "$work/profile" "$counts"
mv "$work/profile" "$folder/profile"
build "-Cprofile-use=$folder/profile"
cp "$folder/$machine/dist/seawall" "$folder/seawall"
echo "$folder/seawall"
