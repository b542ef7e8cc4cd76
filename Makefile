# What each target needs beyond Rust, Node.js, npm, Python, gcc and make, it installs itself.

CARGO ?= cargo
ADDRESS ?= 127.0.0.1:3000
FUZZ_SECONDS ?= 60
# No input of a few kilobytes is worth a larger allocation.
FUZZ_MALLOC_MB ?= 64
FUZZ_TARGETS := $(patsubst fuzz/fuzz_targets/%.rs,%,$(wildcard fuzz/fuzz_targets/*.rs))
SERDE_JSON := serde_json/arbitrary_precision,serde_json/preserve_order
CHROMIUM ?= /usr/bin/chromium
export CHROMIUM
# What is installed from a registry, each in a folder that is named after its version.
TOOLS := $(CURDIR)/.tools
HACK := $(TOOLS)/cargo-hack@0.6.46
DENY := $(TOOLS)/cargo-deny@0.20.2
EXTERNAL_TYPES := $(TOOLS)/cargo-check-external-types@0.5.0
MACHETE := $(TOOLS)/cargo-machete@0.9.2
TYPOS := $(TOOLS)/typos@1.52.0
# The runner is of the version of the library.
GUNGRAUN := $(TOOLS)/gungraun-runner@$(shell sed -n '/^name = "gungraun"$$/ { n; s/^version = "\(.*\)"$$/\1/p }' Cargo.lock)
COUNT := GUNGRAUN_RUNNER=$(GUNGRAUN)/bin/gungraun-runner \
	$(CARGO) bench --bench instructions -- --output-format=json --parallel=auto

COMPILER_WARNINGS := -D warnings -A clippy::all -A clippy::pedantic
BUILD := $(CARGO) build --workspace --all-features --bins --test tests
SOAK := $(CARGO) test --release --features msgpack --test soak --
MINUTES ?= 3

.PHONY: demo test check style lint lint-all packaging package spelling dependencies api unit doc docsrs features feature-pairs \
	serde-json typescript interop instructions baseline bench scaling chart fuzz soak attack client client-check

# The chat, in the browser.
demo:
	$(CARGO) run -p example-chat -- $(ADDRESS)

# Everything that must hold before a change lands.
test: lint unit doc serde-json typescript interop instructions

# For each commit: needs Rust alone, no root, and takes a few minutes.
check: style unit doc

style:
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --all-features -- -D warnings

lint: style features client-check packaging spelling dependencies api

# What takes longer, or changes rarely.
lint-all: lint feature-pairs docsrs package

# The published crate has the files that packaging.txt lists, beside its sources.
packaging:
	$(CARGO) package --list --allow-dirty | grep -v '^src/' | diff packaging.txt -

# And it can be built.
package:
	$(CARGO) package --allow-dirty

spelling: $(TYPOS)/done
	$(TYPOS)/bin/typos

# Each is used, and has a licence that deny.toml allows.
dependencies: $(DENY)/done $(MACHETE)/done
	$(DENY)/bin/cargo-deny check licenses bans sources
	$(MACHETE)/bin/cargo-machete

# The API names only types of the crates that Cargo.toml lists. The tool reads rustdoc's JSON, which is not stable: its version must fit
# that of Rust. With a folder of its own, since RUSTC_BOOTSTRAP makes cargo compile everything again.
api: $(EXTERNAL_TYPES)/done
	RUSTC_BOOTSTRAP=1 CARGO_TARGET_DIR=target/api $(EXTERNAL_TYPES)/bin/cargo-check-external-types check-external-types --all-features

# The tests start the examples. They are built together, so that what both depend on is compiled once.
unit:
	$(BUILD)
	$(CARGO) test --all-features

doc:
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --no-deps --all-features

# As docs.rs builds it, with the features that items need.
docsrs:
	RUSTC_BOOTSTRAP=1 RUSTDOCFLAGS="--cfg docsrs -D warnings" CARGO_TARGET_DIR=target/api $(CARGO) doc --no-deps --all-features

# Without features, with each one alone, and each example with its own dependencies. Without warnings of the compiler, that is: with few
# features clippy finds functions that do nothing.
features: $(HACK)/done
	$(HACK)/bin/cargo-hack hack clippy --workspace --each-feature -- $(COMPILER_WARNINGS)

# With each pair of features.
feature-pairs: $(HACK)/done
	$(HACK)/bin/cargo-hack hack clippy --feature-powerset --depth 2 -- $(COMPILER_WARNINGS)

# Other crates of an application may switch these on: serde_json then shows numbers and objects in another way.
serde-json:
	$(CARGO) test --all-features --features $(SERDE_JSON) --lib -- packet:: parser::
	$(CARGO) test --all-features --features $(SERDE_JSON) --test tests -- acks:: attachments:: connect:: events:: json:: parser:: typed::

# TypeScript's compiler, over what a server exports.
typescript: tests/typescript/node_modules/.package-lock.json
	$(BUILD)
	$(CARGO) test --all-features --test typescript

# Clients of other hands, and two browsers. Not beside the unit tests: the heartbeats want a quiet machine. RECOVERY_RUNS says
# how often a client is cut off and comes back, RECOVERY_SEED with which random numbers it begins.
interop: tests/interop/node_modules/.package-lock.json tests/msgpack/node_modules/.package-lock.json tests/interop/.venv/done \
		tests/interop/.venv-eio3/done $(CHROMIUM)
	$(BUILD)
	$(CARGO) test --all-features --test interop -- --test-threads=1

# Real clients behind a network that breaks for so many MINUTES, with an account of every event; then the attacks. SEED says with
# which random numbers the network begins.
soak: tests/interop/node_modules/.package-lock.json
	$(SOAK) soak $(MINUTES) $(SEED)
	$(SOAK) attack

# A thousand hostile connections in each way, or in those of ATTACKS. Prints the table of docs/limits.md. ATTACK_SECONDS,
# ATTACK_CONNECTIONS and ATTACK_MBITS say how.
attack:
	$(SOAK) attack $(ATTACKS)

bench:
	$(CARGO) bench --all-features

# How costs grow.
scaling:
	$(CARGO) bench --bench scaling

# The chart of docs/performance.md, from its results.
chart:
	python3 docs/performance/chart.py

# No operation takes over 3 % more instructions than benches/instructions.txt says.
instructions: $(GUNGRAUN)/done /usr/bin/valgrind
	$(COUNT) > $(TOOLS)/counts.json
	python3 benches/instructions.py < $(TOOLS)/counts.json

# Accepts the counts as they are.
baseline: $(GUNGRAUN)/done /usr/bin/valgrind
	$(COUNT) > $(TOOLS)/counts.json
	python3 benches/instructions.py --rewrite < $(TOOLS)/counts.json

fuzz:
	command -v cargo-fuzz > /dev/null || $(CARGO) install cargo-fuzz --locked
	for target in $(FUZZ_TARGETS); do \
		mkdir -p fuzz/corpus/$$target && \
		(cd fuzz && RUSTC_BOOTSTRAP=1 $(CARGO) fuzz run $$target corpus/$$target seeds/$$target -- \
			-max_total_time=$(FUZZ_SECONDS) -malloc_limit_mb=$(FUZZ_MALLOC_MB)) || exit 1; \
	done

# The JavaScript client, from npm into the folder that the crate embeds.
client: client/node_modules/.package-lock.json
	cd client && node build.mjs

# The committed files are those of npm.
client-check: client/node_modules/.package-lock.json
	cd client && node build.mjs --check

client/node_modules/.package-lock.json: client/package-lock.json
	cd client && npm ci --ignore-scripts --no-audit --no-fund

tests/interop/node_modules/.package-lock.json: tests/interop/package-lock.json
	cd tests/interop && npm ci --ignore-scripts --no-audit --no-fund

tests/typescript/node_modules/.package-lock.json: tests/typescript/package-lock.json
	cd tests/typescript && npm ci --ignore-scripts --no-audit --no-fund

tests/msgpack/node_modules/.package-lock.json: tests/msgpack/package-lock.json
	cd tests/msgpack && npm ci --ignore-scripts --no-audit --no-fund

tests/interop/.venv/done: tests/interop/requirements.txt
	python3 -m venv tests/interop/.venv
	tests/interop/.venv/bin/pip install --quiet --requirement tests/interop/requirements.txt
	touch $@

tests/interop/.venv-eio3/done: tests/interop/requirements-eio3.txt
	python3 -m venv tests/interop/.venv-eio3
	tests/interop/.venv-eio3/bin/pip install --quiet --requirement tests/interop/requirements-eio3.txt
	touch $@

$(TYPOS)/done:
	python3 -m venv $(TYPOS)
	$(TYPOS)/bin/pip install --quiet $(subst @,==,$(notdir $(TYPOS)))
	touch $@

# Neither optimised nor for a debugger: they build in a third of the time.
$(TOOLS)/%/done:
	CARGO_PROFILE_DEV_DEBUG=0 $(CARGO) install --quiet --locked --debug --root $(@D) --target-dir $(TOOLS)/target $*
	touch $@

/usr/bin/valgrind:
	apt-get update -qq
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq valgrind

/usr/bin/chromium:
	apt-get update -qq
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq chromium
