# Everything a clone needs: each target sets up what it uses.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

VENV := .venv
TARN := $(CURDIR)/.build/release/tarn

.PHONY: help deps tool build demo test test-full test-swift test-interop findings arm64 fuzz bench recall lint clean

help: ## list the targets
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

deps: ## install the Debian packages that are missing
	@scripts/install-deps.sh

tool: deps ## a release build of the tool alone
	@[ -x $(TARN) ] || echo "building the tool, about 3 minutes on two cores"
	swift build -c release --product tarn

build: deps ## one release build: the tool, its tests and the benchmarks
	@[ -x .build/release/tarnPackageTests.xctest ] || \
	  echo "building the tool, its tests and the benchmarks, about 13 minutes on two cores"
	swift build -c release --build-tests

demo: tool ## the whole job on the example features, over a real nginx
	@TARN=$(TARN) scripts/demo.sh

test: findings test-swift test-interop ## every test; what loops for long does a part of its rounds

test-full: export TARN_TEST_FULL := 1
test-full: test arm64 ## every test, every round of it, and the C files for another CPU

# The crash loops run by themselves: they keep every thread of the test runner
# busy for a minute or two.
test-swift: build ## the Swift tests
	swift test -c release --skip-build --skip CrashLoop
	swift test -c release --skip-build --filter CrashLoop

test-interop: build $(VENV)/ready ## the tests that need Python, stock FAISS, nginx or Slurm
	@scripts/install-deps.sh slurm-wlm munge
	@TARN=$(TARN) $(VENV)/bin/python -B Tests/interop/run.py

findings: deps ## whether each finding in Tests/findings.tsv has its test
	@python3 -B scripts/findings.py

arm64: ## every C and C++ file compiled for aarch64, and the same bits there
	@scripts/install-deps.sh g++-aarch64-linux-gnu qemu-user-static
	@scripts/check-arm64.sh

FUZZ_SECONDS ?= 600
fuzz: deps ## every reader under libFuzzer with AddressSanitizer, FUZZ_SECONDS each (600)
	@FUZZ_SECONDS=$(FUZZ_SECONDS) scripts/fuzz.sh

bench: build $(VENV)/ready ## every benchmark, each beside its yardstick; takes long, wants a quiet machine
	TARN_CONTENTION_SECONDS=60 swift test -c release --skip-build --filter ConcurrencyTests
	.build/release/tarn-bench merge
	@for script in Tests/Benchmarks/python/bench_*.py; do \
	  echo "$$script"; TARN=$(TARN) $(VENV)/bin/python -B "$$script"; done

recall: build $(VENV)/ready ## the tables of docs/RECALL.md; wants FEATURES=DIR with image.npy, caption.npy, names.txt
	@for table in '' --codecs --candidates; do TARN=$(TARN) $(VENV)/bin/python -B Tests/Benchmarks/python/recall.py \
	  --features $(FEATURES) $$table --out docs/RECALL.md; done

lint: ## formatting rules; writes nothing
	swift format lint --strict --recursive Package.swift Migrations Sources Tests
	@for script in scripts/*.sh .ci/run; do bash -n "$$script"; done
	@echo "lint: clean"

clean: ## remove what was built
	rm -rf .build $(VENV)

$(VENV)/ready: Tests/interop/requirements.txt | deps
	python3 -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check -r $<
	touch $@
