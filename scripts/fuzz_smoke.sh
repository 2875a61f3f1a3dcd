#!/usr/bin/env bash
# Runs each fuzz target for a while and prints one line for each. What it finds goes below
# target/fuzz; the kept corpus is only read.
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=${FUZZ_SECONDS:-30}
toolchain=${FUZZ_TOOLCHAIN:-nightly}
out=${FUZZ_OUT:-$PWD/target/fuzz}
cargo="cargo +$toolchain"

if ! $cargo --version >/dev/null 2>&1; then
    echo "fuzzing needs a nightly compiler: rustup toolchain install $toolchain" >&2
    exit 69
fi
if ! $cargo fuzz --version >/dev/null 2>&1; then
    echo "cargo-fuzz is not installed; installing it (cargo install cargo-fuzz --locked)"
    $cargo install cargo-fuzz --locked
fi

# Leaks are not looked for: the stage keeps a proxy running between inputs, and a buffer that has
# been read to its end looks like one. `make chaos` counts what is left behind.
targets=${FUZZ_TARGETS:-$(for file in fuzz/fuzz_targets/*.rs; do basename "$file" .rs; done)}
mkdir -p "$out/logs"
$cargo fuzz build --target-dir "$out/build"

printf '\n%-20s %12s %8s %10s %8s  %s\n' target runs exec/s coverage corpus result
failed=0
for target in $targets; do
    mkdir -p "$out/corpus/$target" "$out/artifacts/$target"
    log=$out/logs/$target.log
    dictionary=fuzz/dictionaries/$target.dict
    result=ok
    $cargo fuzz run --target-dir "$out/build" "$target" \
        "$out/corpus/$target" "fuzz/corpus/$target" -- \
        -detect_leaks=0 -max_total_time="$seconds" -max_len=4096 -timeout=20 -rss_limit_mb=2048 \
        -dict="$dictionary" -artifact_prefix="$out/artifacts/$target/" -print_final_stats=1 \
        >"$log" 2>&1 </dev/null || { result="FAILED, see $log"; failed=1; }
    last=$(grep -E '^#[0-9]+.* cov: ' "$log" | tail -n 1 || true)
    stat() { grep -oE "stat::$1: +[0-9]+" "$log" | grep -oE '[0-9]+$' || echo '-'; }
    value() { grep -oE "$1: [0-9]+" <<<"$last" | grep -oE '[0-9]+$' || echo '-'; }
    printf '%-20s %12s %8s %10s %8s  %s\n' "$target" "$(stat number_of_executed_units)" \
        "$(stat average_exec_per_sec)" "$(value cov)" "$(value corp)" "$result"
done
exit "$failed"
