# Everything a person or CI runs. Heavy things are cached outside the clone, so a fresh clone starts warm.
SHELL := /bin/bash
export GRAMPUS_CACHE ?= $(HOME)/.cache/grampus
export CARGO_TARGET_DIR ?= $(GRAMPUS_CACHE)/target
export PATH := $(HOME)/.cargo/bin:/usr/local/go/bin:$(PATH)

.DEFAULT_GOAL := help
.PHONY: help setup

help:
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 14
