# Everything a clone needs: each target sets up what it uses.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

VENV := .venv
# Of `make build`, beside the tests, and of `make tool`, with Swift's runtime in it.
TARN := $(CURDIR)/.build/release/tarn
TOOLS := $(CURDIR)/.build-static/release
PREFIX ?= /usr/local
# What `tarn --version` says.
export TARN_COMMIT := $(shell scripts/commit.sh)

.PHONY: help deps tool build demo install uninstall deb tarball deb-test clone-test test test-full test-both test-swift exclusion-proof \
  test-interop docs-test docs-reference findings arm64 coverage fuzz bench rehearsal recall lint clean

help: ## list the targets
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

deps: ## install the Debian packages that are missing
	@scripts/install-deps.sh

# Without the place of this build in it, where libraries would be looked for too.
BUILD_STATIC := swift build -c release --static-swift-stdlib --disable-local-rpath --scratch-path .build-static
tool: deps ## the tool as it is installed, Swift's runtime in it, and tarn-adopt, which lies beside it
	@[ -x "$(TOOLS)/tarn" ] || echo "building the tool, 4 to 10 minutes on two cores"
	$(BUILD_STATIC) --product tarn
	$(BUILD_STATIC) --product tarn-adopt

# Swift Testing alone, and no debug information, which would be most of what objects hold.
BUILD := swift build -c release --build-tests --disable-xctest -debug-info-format none
build: deps ## one release build: the tool, its tests and the benchmarks
	@[ -x .build/release/tarnPackageTests.xctest ] || \
	  echo "building the tool, its tests and the benchmarks, 13 to 20 minutes on two cores"
	@scripts/logged.sh build $(BUILD)

demo: tool ## the whole job on the example features, over a real nginx
	@TARN="$(TOOLS)/tarn" scripts/demo.sh

# Builds nothing, as root needs no Swift: what is not there is named, and `make tool` makes it.
install: ## put the tool, completions, man pages and examples below PREFIX (/usr/local); DESTDIR goes before it; after make tool
	@PREFIX="$(PREFIX)" DESTDIR="$(DESTDIR)" scripts/install.sh install

uninstall: ## take away what `make install` put there
	@PREFIX="$(PREFIX)" DESTDIR="$(DESTDIR)" scripts/install.sh uninstall

deb: tool ## dist/tarn_VERSION_ARCH.deb
	@scripts/install-deps.sh dpkg-dev
	@rm -f dist/tarn_*.deb
	@scripts/deb.sh

tarball: tool ## dist/tarn-VERSION-linux-MACHINE.tar.gz: runs from a home directory, without root
	@scripts/install-deps.sh patchelf binutils
	@rm -f dist/tarn-*.tar.gz
	@scripts/tarball.sh

deb-test: deb tarball ## both where nothing is installed: a Debian made anew, demo and tutorial in it; wants root and the network
	@scripts/install-deps.sh debootstrap lintian
	lintian --fail-on error,warning --suppress-tags-from-file scripts/deb/lintian-suppressed dist/tarn_*.deb
	@scripts/check-deb.sh

clone-test: ## README's two commands in such a Debian, with this machine's Swift and a clone of HEAD; wants root and the network
	@scripts/install-deps.sh debootstrap
	@scripts/check-clone.sh

# What needs no build goes beside it: a release build keeps two cores busy for half of its time.
BESIDE :=
test: deps ## every test; what loops for long does a part of its rounds
	@$(MAKE) --no-print-directory -j3 findings arm64 build $(BESIDE)
	@$(MAKE) --no-print-directory -j2 test-both docs-test

test-full: export TARN_TEST_FULL := 1
test-full: test ## every test, every round of it

test-both: build $(VENV)/ready
	@scripts/install-deps.sh slurm-wlm munge
	@TARN="$(TARN)" $(VENV)/bin/python -B scripts/run_tests.py all

test-swift: build ## the Swift tests
	@python3 -B scripts/run_tests.py swift

exclusion-proof: build ## the proof that excluded rows are gone: every byte of a lake searched for them
	swift test -c release --skip-build --disable-xctest --filter ExclusionProofTests

test-interop: build $(VENV)/ready ## the tests that need Python, stock FAISS, nginx or Slurm
	@scripts/install-deps.sh slurm-wlm munge
	@TARN="$(TARN)" $(VENV)/bin/python -B scripts/run_tests.py interop

docs-test: build $(VENV)/ready ## the commands of the documentation, and what they print, against its pages
	@TARN="$(TARN)" $(VENV)/bin/python -B -m unittest discover --quiet Tests/docs
	@TARN="$(TARN)" $(VENV)/bin/python -B Tests/docs/run.py

docs-reference: build ## write docs/reference from the tool's help, its views and the layouts in its sources
	@TARN="$(TARN)" python3 -B scripts/reference.py

findings: deps ## whether each finding in Tests/findings.tsv has its test
	@python3 -B scripts/findings.py

arm64: deps ## every C and C++ file compiled for aarch64, and the same bits and winners there
	@scripts/install-deps.sh g++-aarch64-linux-gnu qemu-user-static
	@scripts/check-arm64.sh

coverage: deps ## which lines of Catalog, Fetch, Indexer and Lake the Swift tests reach; takes long
	@scripts/coverage.sh

FUZZ_SECONDS ?= 600
fuzz: deps ## every reader under libFuzzer with AddressSanitizer, FUZZ_SECONDS each (600)
	@FUZZ_SECONDS="$(FUZZ_SECONDS)" scripts/fuzz.sh

BENCHES := $(filter-out %/bench_startup.py,$(wildcard Tests/Benchmarks/python/bench_*.py))
bench: build tool $(VENV)/ready ## every benchmark, each beside its yardstick; takes long, wants a quiet machine
	TARN_CONTENTION_SECONDS=60 swift test -c release --skip-build --disable-xctest --filter ConcurrencyTests
	.build/release/tarn-bench merge
	@TARN="$(TOOLS)/tarn" python3 -B Tests/Benchmarks/python/bench_startup.py
	@for script in $(BENCHES); do \
	  echo "$$script"; TARN="$(TARN)" $(VENV)/bin/python -B "$$script"; done

rehearsal: build $(VENV)/ready ## the whole job with LAION's number of lists and size of shards; hours, and 70 GB of disk
	@TARN="$(TARN)" $(VENV)/bin/python -B Tests/Benchmarks/python/rehearsal.py $(REHEARSAL)

recall: build $(VENV)/ready ## the tables of docs/RECALL.md; wants FEATURES=DIR with image.npy, caption.npy, names.txt
	@for table in '' --codecs --candidates; do TARN="$(TARN)" $(VENV)/bin/python -B Tests/Benchmarks/python/recall.py \
	  --features "$(FEATURES)" $$table --out docs/RECALL.md; done

lint: ## formatting rules; writes nothing
	swift format lint --strict --recursive Package.swift Migrations Sources Tests
	@for script in scripts/*.sh .ci/run; do bash -n "$$script"; done
	@echo "lint: clean"

clean: ## remove what was built
	rm -rf .build .build-static .build-coverage dist $(VENV)

$(VENV)/ready: Tests/interop/requirements.txt | deps
	python3 -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check -r $<
	$(VENV)/bin/pip install --quiet --disable-pip-version-check --no-deps clip-retrieval==2.45.0
	touch $@
