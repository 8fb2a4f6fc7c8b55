# sqlveil: the commands people type. `make` alone lists them.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

CARGO ?= cargo
PORT ?= 6432
# Arguments for `make pgbench`, `make leak-hunt`, `make soak`, `make defences`, e.g. make pgbench ARGS='--seconds 10 --rounds 5'
ARGS ?=

# A temporary folder for all that tests write, gone when they end; as open as /tmp, since PostgreSQL does not run as root.
WITH_FOLDER := folder=$$(mktemp -d) && chmod 1777 "$$folder" && trap 'rm -rf "$$folder" 2>/dev/null || { sleep 2; rm -rf "$$folder"; } || true' EXIT; TMPDIR="$$folder"

.PHONY: help setup build demo test test-long test-versions leak-hunt soak defences bench pgbench fuzz fmt lint ci

help: ## List the commands
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

setup: ## Install what is missing: PostgreSQL, libclang, gcc, pkg-config
	@.ci/setup

.PHONY: setup-test setup-bench setup-hunt
setup-test:
	@.ci/setup --test

setup-bench:
	@.ci/setup --bench

setup-hunt:
	@.ci/setup --hunt

build: setup ## Build the release binary
	$(CARGO) build --release --locked

demo: build ## Start the demo: the same queries, answered differently (PORT=6432)
	./target/release/sqlveil demo --port $(PORT)

test: setup-test ## Run every test against a private PostgreSQL
	@$(WITH_FOLDER) $(CARGO) test --workspace --locked --no-fail-fast

test-long: setup-test defences test-versions ## Run every test with the long settings of the generated ones, `defences` and `test-versions`
	@$(WITH_FOLDER) SQLVEIL_TEST_LONG=1 PROPTEST_CASES=5000 $(CARGO) test --workspace --locked --no-fail-fast

test-versions: setup-test ## Run what depends on the server on PostgreSQL 13 to 18 (ARGS='18' for some of them)
	@$(WITH_FOLDER) .ci/versions $(ARGS)

leak-hunt: setup-hunt ## Hunt for leaks: ARGS='--statements 200000' or '--seconds 600 --seed 7'
	$(CARGO) test --locked --profile hunt --test hunt -- $(ARGS)

soak: setup ## 1,000 idle and 200 active sessions of 500 users for ten minutes (ARGS='--seconds 60 --idle 100 …' for less)
	@$(WITH_FOLDER) $(CARGO) test --locked --release --test soak -- $(or $(ARGS),--seconds 600 --idle 1000 --active 200 --users 500)

defences: setup ## Switch off one defence after the other: tests must notice each
	.ci/defences $(ARGS)

bench: setup-test ## Time the stages of a statement, decisions, loading at scale, a catalog of 20,000 relations, and query shapes
	$(CARGO) bench --locked

pgbench: setup-bench build ## Compare direct, PgBouncer, a bare relay and sqlveil (ARGS='--help'; docs/performance.md)
	$(CARGO) build --release --locked --example relay
	benches/pgbench/run $(ARGS)

.PHONY: package
package: build ## Make a Debian package with a systemd unit (target/debian/; installs cargo-deb into target/ when missing)
	command -v cargo-deb >/dev/null || [ -x target/tools/bin/cargo-deb ] || $(CARGO) install --locked --root target/tools cargo-deb
	PATH="$$PATH:target/tools/bin" cargo-deb --no-build --locked

.PHONY: setup-fuzz
setup-fuzz:
	@.ci/setup --fuzz

fuzz: setup-fuzz ## Fuzz every target (ARGS='--seconds 1200 pipeline'; installs cargo-fuzz when missing)
	fuzz/run $(ARGS)

fmt: ## Format the code
	$(CARGO) fmt --all

lint: setup ## Check formatting and lints, as CI does
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings
	$(CARGO) clippy --locked --features disarm --lib --test defences -- -D warnings

ci: ## What CI runs
	@.ci/run
