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
# The runner is of the version of the library.
GUNGRAUN_VERSION := $(shell sed -n '/^name = "gungraun"$$/ { n; s/^version = "\(.*\)"$$/\1/p }' Cargo.lock)
GUNGRAUN := $(CURDIR)/benches/.tools/gungraun-$(GUNGRAUN_VERSION)
COUNT := GUNGRAUN_RUNNER=$(GUNGRAUN)/bin/gungraun-runner \
	$(CARGO) bench --bench instructions -- --output-format=json --parallel=auto

SOAK := $(CARGO) test --release --features msgpack --test soak --
MINUTES ?= 3

.PHONY: demo test bench fuzz soak attack client lint unit doc features serde-json typescript interop instructions baseline scaling chart

# The chat, in the browser.
demo: client
	$(CARGO) run --example chat -- $(ADDRESS)

# Everything that must hold before a change lands.
test: client lint unit doc features serde-json typescript interop instructions

lint:
	$(CARGO) fmt --check
	$(CARGO) clippy --all-targets --all-features -- -D warnings

unit: client
	$(CARGO) test --all-features

doc:
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --no-deps --all-features

# Without default features, and with each one alone.
features:
	$(CARGO) check --no-default-features
	for feature in compression http2 metrics msgpack nats postgres redis test tracing typed; do $(CARGO) check --no-default-features --features $$feature || exit 1; done

# Other crates of an application may switch these on: serde_json then shows numbers and objects in another way.
serde-json: client
	$(CARGO) test --all-features --features $(SERDE_JSON) --lib -- packet:: parser::
	$(CARGO) test --all-features --features $(SERDE_JSON) --test tests -- acks:: attachments:: connect:: events:: json:: parser:: typed::

# TypeScript's compiler, over what a server exports.
typescript: tests/typescript/node_modules/.package-lock.json
	$(CARGO) build --all-features --examples
	$(CARGO) test --all-features --test typescript

# Clients of other hands, and two browsers. Not beside the unit tests: the heartbeats want a quiet machine. RECOVERY_RUNS says
# how often a client is cut off and comes back, RECOVERY_SEED with which random numbers it begins.
interop: client tests/interop/node_modules/.package-lock.json tests/msgpack/node_modules/.package-lock.json tests/interop/.venv/done \
		tests/interop/.venv-eio3/done $(CHROMIUM)
	$(CARGO) build --all-features --examples
	$(CARGO) test --all-features --test interop -- --test-threads=1

# Real clients behind a network that breaks for so many MINUTES, with an account of every event; then the attacks. SEED says with
# which random numbers the network begins.
soak: client tests/interop/node_modules/.package-lock.json
	$(SOAK) soak $(MINUTES) $(SEED)
	$(SOAK) attack

# A thousand hostile connections in each way, or in those of ATTACKS. Prints the table of docs/limits.md. ATTACK_SECONDS,
# ATTACK_CONNECTIONS and ATTACK_MBITS say how.
attack: client
	$(SOAK) attack $(ATTACKS)

bench: client
	$(CARGO) bench --all-features

# How costs grow.
scaling:
	$(CARGO) bench --bench scaling

# The chart of docs/performance.md, from its results.
chart:
	python3 docs/performance/chart.py

# No operation takes over 3 % more instructions than benches/instructions.txt says.
instructions: client $(GUNGRAUN)/bin/gungraun-runner /usr/bin/valgrind
	$(COUNT) > benches/.tools/counts.json
	python3 benches/instructions.py < benches/.tools/counts.json

# Accepts the counts as they are.
baseline: client $(GUNGRAUN)/bin/gungraun-runner /usr/bin/valgrind
	$(COUNT) > benches/.tools/counts.json
	python3 benches/instructions.py --rewrite < benches/.tools/counts.json

fuzz:
	command -v cargo-fuzz > /dev/null || $(CARGO) install cargo-fuzz --locked
	for target in $(FUZZ_TARGETS); do \
		mkdir -p fuzz/corpus/$$target && \
		(cd fuzz && RUSTC_BOOTSTRAP=1 $(CARGO) fuzz run $$target corpus/$$target seeds/$$target -- \
			-max_total_time=$(FUZZ_SECONDS) -malloc_limit_mb=$(FUZZ_MALLOC_MB)) || exit 1; \
	done

# The JavaScript client, from npm, where build.rs embeds it.
client: client/dist/socket.io.js

client/dist/socket.io.js: client/package-lock.json client/build.mjs
	cd client && npm ci --no-audit --no-fund && npm run --silent build

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

# Not optimised: it builds in half the time, and only starts valgrind.
$(GUNGRAUN)/bin/gungraun-runner:
	$(CARGO) install --quiet --locked --debug --version $(GUNGRAUN_VERSION) --root $(GUNGRAUN) gungraun-runner

/usr/bin/valgrind:
	apt-get update -qq
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq valgrind

/usr/bin/chromium:
	apt-get update -qq
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq chromium
