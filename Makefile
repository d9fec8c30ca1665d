# Everything a person or CI runs. Heavy things are cached outside the clone, so a fresh clone starts warm.
SHELL := /bin/bash
export GRAMPUS_CACHE ?= $(HOME)/.cache/grampus
export CARGO_TARGET_DIR ?= $(GRAMPUS_CACHE)/target
export PATH := $(HOME)/.cargo/bin:/usr/local/go/bin:$(PATH)

BUILT := $(CARGO_TARGET_DIR)/x86_64-unknown-linux-musl

.DEFAULT_GOAL := help
.PHONY: help setup demo demo-backup demo-down test e2e chaos soak bench fmt crds manifests

help:
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 14

setup: ## install and build what everything else needs: toolchain, packages, Kubernetes, MySQL
	@rustup toolchain install
	@tests/lab/setup.sh

# What is selected besides makes the large crates the same that the tests use, so that they are built once.
demo: setup ## show it all: a cluster, a killed primary, another policy; leaves the lab running
	@cargo build --workspace --bin demo --bin grampus --test crds
	@$(BUILT)/debug/demo

demo-backup: setup ## a dropped table, a cluster deleted with its volumes, and everything back from an S3 store
	@cargo build --workspace --bin demo --bin grampus --test crds
	@$(BUILT)/debug/demo backup

demo-down: ## remove every trace of the demos
	@./lab down

test: setup ## run every test that gates a change
	@tests/run.sh

e2e: setup ## hurt and misuse a cluster in the lab, and count what is lost; part of `test`
	@cargo test --workspace --test e2e -- --test-threads=1 --nocapture

# The program that measures only watches; what it measures it builds optimised.
bench: setup ## measure how long things take; prints a table and writes target/bench.json; ARGS='--only decisions'
	@cargo build --workspace --bin bench --test crds
	@$(BUILT)/debug/bench $(ARGS)

fmt: ## format the tree
	@cargo fmt --all

manifests: crds ## write deploy/operator.yaml from the chart, too
	@deploy/render.sh

crds: ## write deploy/crds from the types
	@UPDATE=1 cargo test --package objects --test crds

chaos: setup ## hurt a cluster in many ways under load; RUNS=, SEED= and ONLY= choose how much and what
	@cargo build --workspace --bin chaos --bin grampus --test crds
	@$(BUILT)/debug/chaos $(if $(RUNS),--runs $(RUNS)) $(if $(SEED),--seed $(SEED)) $(if $(ONLY),--only '$(ONLY)') $(ARGS)

soak: setup ## many more histories than `test` tries, others each time, and a cluster without an API server for 10 minutes; HISTORIES=, SEED= and API_GONE_S= choose
	@HISTORIES=$(or $(HISTORIES),100000) SEED=$(or $(SEED),$(shell date +%s)) cargo test --workspace --no-fail-fast \
		--test attacks --test protocol -- --nocapture
	@cargo build --workspace --bin chaos --bin grampus --test crds
	@$(BUILT)/debug/chaos --runs 1 --only 'API server cut off' --hold-s $(or $(API_GONE_S),600) \
		--output target/api-server-gone.txt --log target/api-server-gone.jsonl
