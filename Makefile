# Every target is one line; the work is done by scripts/setup and `cargo xtask`.
.PHONY: help run test build check fmt bench fuzz clean

help: ## list the targets
	@grep -E '^[a-z]+:.*##' Makefile | sed 's/:.*## /\t/' | expand -t 10

run: ## install what is missing, build everything, run the demo container in its own VM
	@scripts/setup build && cargo xtask run

test: ## install what the tests need, build everything, run every test
	@scripts/setup test && cargo xtask test

build: ## build programs, guest, kernel and demo image into .bulkhead/
	@scripts/setup build && cargo xtask build

check: ## rustfmt, clippy and the crate arrows of ARCHITECTURE.md
	@cargo xtask check

fmt: ## format all Rust code
	@cargo xtask format

bench: ## compare start times with podman, side by side
	@scripts/setup test && cargo xtask bench

fuzz: ## run each fuzz target for some minutes; needs a nightly compiler and g++
	@cargo xtask fuzz

clean: ## remove build output; the kernel cache stays
	@cargo clean && cargo clean --manifest-path guest/Cargo.toml && cargo clean --manifest-path file-server/Cargo.toml && rm -rf .bulkhead
