#!/usr/bin/env bash
# Counts what the hot paths cost, under Valgrind, and fails where one is over its budget
# (benches/budgets/budgets.rs). The same on every machine, whatever else runs there; a minute, and
# some for building.
set -euo pipefail
cd "$(dirname "$0")/../benches/budgets"

command -v valgrind >/dev/null || { echo "valgrind is missing (make budgets installs it on Debian)" >&2; exit 64; }

# The runner has to be of the library's own version.
version=$(sed -n 's/^gungraun = "=\(.*\)"$/\1/p' Cargo.toml)
tools=${CARGO_TARGET_DIR:-$PWD/target}/tools
if ! "$tools/bin/gungraun-runner" --version 2>/dev/null | grep -qF "$version"; then
    "${CARGO:-cargo}" install --quiet --locked --root "$tools" --version "=$version" gungraun-runner
fi
PATH="$tools/bin:$PATH" "${CARGO:-cargo}" bench --locked "$@"
