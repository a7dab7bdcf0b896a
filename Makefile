# `make` alone lists the targets. Everything works from a fresh clone: what a target lacks, scripts/setup installs.
SHELL := bash
.DEFAULT_GOAL := help
.PHONY: help setup demo test lint proto fmt interop fuzz e2e picture sim crash chaos bench

SEEDS ?= 5000
FROM ?= 0
KILLS ?= 200
POSTRIDER_CHAOS_SECONDS ?= 600

help: ## List the targets
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9-]+):[^#]*## (.*)/  make \1\t\2/' | expand -t 20

setup: ## Install what the other targets need
	scripts/setup

demo: ## Build, start a server, deliver real events (one fails and recovers), keep the server open
	scripts/demo

test: ## Everything that CI runs: format, lints, licences, tests, the dashboard in a browser, interoperability
	scripts/test

lint: ## Format check, clippy, dependency rules
	scripts/lint

proto: ## Check the contract of the RPC API; after changing it: scripts/proto update
	scripts/proto

fmt: ## Format the Rust code
	cargo fmt --all

interop: ## Run published Node and Python libraries against the real binary
	scripts/interop

fuzz: ## Hold every answer against the OpenAPI document: make fuzz SEED=1 EXAMPLES=12
	scripts/fuzz

e2e: ## The dashboard in a real browser, with pictures of each page: make e2e TESTS=tests/bulk.spec.ts
	scripts/e2e $(TESTS)

picture: ## The picture of the README, docs/images/dashboard.png, made anew in a quarter of an hour
	scripts/picture

sim: ## Simulate whole systems with faults: make sim SEEDS=5000 FROM=0
	cargo run --locked -p postrider-sim -- --seeds $(SEEDS) --from $(FROM)

crash: ## Kill a loaded server again and again, count what is lost: make crash KILLS=200
	CRASH_KILLS=$(KILLS) cargo test --locked -p postrider-server --test crash -- --nocapture

chaos: ## Three nodes under one fault after the other: make chaos POSTRIDER_CHAOS_SECONDS=600
	scripts/postgres run env POSTRIDER_CHAOS_SECONDS=$(POSTRIDER_CHAOS_SECONDS) \
	  cargo test --locked -p postrider-server --test cluster -- --exact chaos --nocapture

bench: ## Measure a release build against the performance bars
	scripts/bench
