#!/usr/bin/env bash
# What building and testing need beside cargo: a C compiler (allocator and crypto are C), the
# clients that the tests speak to Seawall with, and the Redis that it speaks to. With an argument, that
# tool as well, whose package has its name.
set -euo pipefail

declare -A package_of=(
    [cc]=gcc
    [make]=make
    [curl]=curl
    [nghttp]=nghttp2-client
    [h2load]=nghttp2-client
    [redis-server]=redis-server
)
for tool in "$@"; do
    package_of[$tool]=$tool
done

missing=()
for tool in "${!package_of[@]}"; do
    command -v "$tool" >/dev/null || missing+=("${package_of[$tool]}")
done
# A compiler without the C library's headers compiles nothing.
if command -v cc >/dev/null && ! echo '#include <stdlib.h>' | cc -E - >/dev/null 2>&1; then
    missing+=(libc6-dev)
fi

if ! command -v cargo >/dev/null; then
    echo "cargo is missing: https://rustup.rs (rust-toolchain.toml names the version)" >&2
    exit 1
fi
if [ ${#missing[@]} -eq 0 ]; then
    exit 0
fi
mapfile -t missing < <(printf '%s\n' "${missing[@]}" | sort -u)

sudo=()
if [ "$(id -u)" -ne 0 ]; then
    sudo=(sudo -n)
fi
if command -v apt-get >/dev/null && { [ ${#sudo[@]} -eq 0 ] || sudo -n true 2>/dev/null; }; then
    export DEBIAN_FRONTEND=noninteractive
    "${sudo[@]}" apt-get update -qq </dev/null
    "${sudo[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}" libc6-dev </dev/null
else
    cat >&2 <<TEXT
These are missing, by their Debian names: ${missing[*]}
  Debian, Ubuntu   sudo apt-get install ${missing[*]} libc6-dev
  Fedora           sudo dnf install gcc make curl nghttp2 redis
  Arch             sudo pacman -S gcc make curl nghttp2 redis
  macOS            xcode-select --install; brew install curl nghttp2 redis
TEXT
    exit 1
fi
