# Targets require Rust, Node.js, npm, Python, gcc and make, and install other tools themselves.

CARGO ?= cargo
ADDRESS ?= 127.0.0.1:3000
FUZZ_SECONDS ?= 60
# Inputs have a few kilobytes, so larger allocations are errors.
FUZZ_MALLOC_MB ?= 64
FUZZ_TARGETS := $(patsubst fuzz/fuzz_targets/%.rs,%,$(wildcard fuzz/fuzz_targets/*.rs))
SERDE_JSON := msgpack,test-util,typed,serde_json/arbitrary_precision,serde_json/preserve_order
CHROMIUM ?= /usr/bin/chromium
export CHROMIUM
# Tools from registries, each in a folder with its version.
TOOLS := $(CURDIR)/.tools
HACK := $(TOOLS)/cargo-hack@0.6.46
DENY := $(TOOLS)/cargo-deny@0.20.2
EXTERNAL_TYPES := $(TOOLS)/cargo-check-external-types@0.5.0
MACHETE := $(TOOLS)/cargo-machete@0.9.2
TYPOS := $(TOOLS)/typos@1.52.0
# The runner must have the version of the library.
GUNGRAUN := $(TOOLS)/gungraun-runner@$(shell sed -n '/^name = "gungraun"$$/ { n; s/^version = "\(.*\)"$$/\1/p }' Cargo.lock)
COUNT := GUNGRAUN_RUNNER=$(GUNGRAUN)/bin/gungraun-runner $(CARGO) bench -p bench-instructions
COUNT_ALL := $(COUNT) -- --output-format=json --parallel=auto
COUNT_UNOBSERVED := $(COUNT) --no-default-features -- --output-format=json --parallel=auto

# Autobahn's test-suite is written for Python 2.7, which pyenv can build.
AUTOBAHN := $(TOOLS)/autobahntestsuite@25.10.1
PYTHON2 ?= $(or $(PYENV_ROOT),$(HOME)/.pyenv)/versions/2.7.18/bin/python2.7

# Debian starts the brokers that it installs unless this file forbids it. The tests start their own.
POLICY := /usr/sbin/policy-rc.d
BROKERS := /usr/bin/redis-server /usr/sbin/nats-server $(or $(firstword $(wildcard /usr/lib/postgresql/*/bin/postgres)),/usr/lib/postgresql)

COMPILER_WARNINGS := -D warnings -A clippy::all -A clippy::pedantic
# All tests are built for the whole workspace: what is built with it decides which features its dependencies have, and so whether they are
# built again.
BUILD := $(CARGO) build --workspace --all-features --bins --test tests
TEST := $(CARGO) test --workspace --all-features
SOAK := $(CARGO) test --release --features msgpack --test soak --
MINUTES ?= 3

.PHONY: demo cluster test check style lint lint-all packaging package spelling dependencies api unit doc docsrs features each-feature feature-pairs \
	brokers backends drill autobahn bench-cluster bench-deflate bench-idle bench-size bench-storm serde-json typescript interop instructions baseline bench scaling locks chart fuzz soak attack client client-check

# Serves the chat example.
demo:
	$(CARGO) run -p example-chat -- $(ADDRESS)

# Starts Redis, two nodes of a chat, and a load balancer.
cluster: /usr/bin/redis-server
	examples/cluster/run.sh $(ADDRESS)

# All checks, required before a change is merged.
test: lint unit backends doc serde-json typescript interop instructions

# Checks for each commit. Requires only Rust, no root, and takes a few minutes.
check: style unit doc

style:
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --all-features -- -D warnings

lint: style features client-check packaging spelling dependencies api

# Further checks, which take longer or rarely fail.
lint-all: lint each-feature feature-pairs docsrs package

# The published crate contains its sources and the files in packaging.txt.
packaging:
	$(CARGO) package --list --allow-dirty | grep -v '^src/' | diff packaging.txt -

# The published crate builds.
package:
	$(CARGO) package --allow-dirty -p tower-socketio-macros -p tower-socketio

spelling: $(TYPOS)/done
	$(TYPOS)/bin/typos

# Each dependency is used, and has a licence that deny.toml allows.
dependencies: $(DENY)/done $(MACHETE)/done
	$(DENY)/bin/cargo-deny check licenses bans sources
	$(MACHETE)/bin/cargo-machete

# The API uses only types of the crates that Cargo.toml lists. The tool reads rustdoc's JSON, which is unstable, so its version depends on
# that of Rust.
api: $(EXTERNAL_TYPES)/done $(TOOLS)/rustdoc
	RUSTDOC=$(TOOLS)/rustdoc $(EXTERNAL_TYPES)/bin/cargo-check-external-types check-external-types --all-features

# With RUSTC_BOOTSTRAP for cargo itself, it would compile everything again.
$(TOOLS)/rustdoc:
	mkdir -p $(@D)
	printf '#!/bin/sh\nRUSTC_BOOTSTRAP=1 exec rustdoc "$$@"\n' > $@
	chmod +x $@

# The tests start the examples. Both are built together, so that common dependencies are compiled once.
unit:
	$(BUILD)
	$(TEST) --lib --bin example-tickets --bin example-validation --test tests --test ui
	$(TEST) --doc

# Tests clusters of Rust and Node.js nodes over real brokers, which `unit` ignores.
backends: brokers tests/cluster/node_modules/.package-lock.json
	$(BUILD)
	$(TEST) --test tests -- --ignored --skip drill_

# Longer tests: clusters ten seconds without the broker under load, clients that hop between Rust and Node.js 200 times, and Autobahn's
# test-suite.
drill: autobahn brokers tests/cluster/node_modules/.package-lock.json
	$(TEST) --test tests -- --ignored drill_

# Runs Autobahn's test-suite for WebSockets against the codec and compression. Takes half an hour. CASES are those to run, such as
# "1.* 12.1.1". The reports are in target/autobahn.
CASES ?= *
autobahn: $(AUTOBAHN)/done
	WSTEST=$(AUTOBAHN)/bin/wstest AUTOBAHN_REPORTS=$(CURDIR)/target/autobahn AUTOBAHN_CASES="$(CASES)" \
		$(CARGO) test --release --features permessage-deflate --lib autobahn -- --ignored --nocapture

brokers: $(BROKERS)

doc:
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --no-deps --all-features

# The documentation as docs.rs builds it, with badges for features.
docsrs:
	RUSTC_BOOTSTRAP=1 RUSTDOCFLAGS="--cfg docsrs -D warnings" CARGO_TARGET_DIR=target/docsrs $(CARGO) doc --no-deps --all-features

# Checks the crate without features and with a few sets of them, and the examples. rustc must not warn. clippy would, because some functions
# are empty with few features.
features:
	for set in '' $$(python3 tests/features.py); do \
		$(CARGO) clippy -p tower-socketio --no-default-features --features "$$set" -- $(COMPILER_WARNINGS) || exit 1; \
	done
	$(CARGO) clippy --workspace --exclude tower-socketio -- $(COMPILER_WARNINGS)

# Checks the crate with each single feature, and each example with its own dependencies.
each-feature: $(HACK)/done
	$(HACK)/bin/cargo-hack hack clippy -p tower-socketio --each-feature -- $(COMPILER_WARNINGS)
	$(HACK)/bin/cargo-hack hack clippy --workspace --exclude tower-socketio -- $(COMPILER_WARNINGS)

# Checks the crate with each pair of features.
feature-pairs: $(HACK)/done
	$(HACK)/bin/cargo-hack hack clippy --feature-powerset --depth 2 -- $(COMPILER_WARNINGS)

# Other crates of an application may enable these features of serde_json, which change its numbers and objects. All dependencies that
# use it are compiled again, so only the features that the tests need are enabled.
serde-json:
	$(CARGO) test --features $(SERDE_JSON) --lib -- packet:: parser::
	$(CARGO) test --features $(SERDE_JSON) --test tests -- acks:: attachments:: connect:: events:: json:: parser:: typed::

# Compiles the exported types with TypeScript.
typescript: tests/typescript/node_modules/.package-lock.json
	$(BUILD)
	$(TEST) --test typescript

# Tests with other clients and two browsers. They run separately from the unit tests, because heartbeats depend on timing. RECOVERY_RUNS is
# the number of times that a client is disconnected and recovered, RECOVERY_SEED the seed of the random numbers.
interop: tests/interop/node_modules/.package-lock.json tests/msgpack/node_modules/.package-lock.json tests/interop/.venv/done \
		tests/interop/.venv-eio3/done $(CHROMIUM)
	$(BUILD)
	$(TEST) --test interop -- --test-threads=1

# Connects real clients through an unreliable network for MINUTES and checks that each event arrives, then runs the attacks. SEED is the
# seed of the network's random numbers.
soak: tests/interop/node_modules/.package-lock.json
	$(SOAK) soak $(MINUTES) $(SEED)
	$(SOAK) attack

# Opens a thousand hostile connections for each kind of attack, or for those in ATTACKS. Prints the table of docs/limits.md. Configured by
# ATTACK_SECONDS, ATTACK_CONNECTIONS and ATTACK_MBITS.
attack:
	$(SOAK) attack $(ATTACKS)

bench:
	$(CARGO) bench --all-features

# Measures the CPU time of what nodes send one another, beside nodes of Node.js. ADAPTERS are those to measure, ROUNDS the number of
# repetitions. Takes some minutes.
bench-cluster: brokers tests/cluster/node_modules/.package-lock.json
	$(CARGO) build --release -p bench-cluster
	node benches/cluster/run.mjs $${CARGO_TARGET_DIR:-target}/release/bench-cluster-node $(ADAPTERS)

# Measures the CPU time and the bytes of compressed messages, beside Node.js. Takes some minutes.
bench-deflate: tests/cluster/node_modules/.package-lock.json
	$(CARGO) build --profile yardstick --features permessage-deflate --example bench_deflate
	node benches/deflate/run.mjs $${CARGO_TARGET_DIR:-target}/yardstick/examples/bench_deflate

# Measures the memory and the heartbeats of idle connections. Takes two minutes.
bench-idle: /usr/bin/valgrind
	$(CARGO) build --profile yardstick --example bench_server
	python3 benches/idle/run.py $${CARGO_TARGET_DIR:-target}/yardstick/examples/bench_server

# Measures what the crate costs to build, also in the REVISIONS. Takes some minutes for each.
bench-size:
	python3 benches/size/run.py $(REVISIONS)

# Measures how costs grow, and what threads cost each other.
scaling:
	$(CARGO) bench --bench scaling

# Measures how long the locks of the server are held, and how often they are in use when threads need them. It has a separate target folder,
# because with RUSTFLAGS cargo compiles everything again.
locks:
	RUSTFLAGS="--cfg tower_socketio_locks" CARGO_TARGET_DIR=target/locks $(CARGO) bench --bench scaling

# Draws the chart of docs/performance.md.
chart:
	python3 docs/performance/chart.py

# Checks that no operation takes over 3 % more instructions than in benches/instructions/baseline.txt, and that `tracing` without a
# subscriber and `metrics` without a recorder cost at most 3 %.
instructions: $(GUNGRAUN)/done /usr/bin/valgrind
	$(COUNT_ALL) > $(TOOLS)/counts.json
	$(COUNT_UNOBSERVED) > $(TOOLS)/unobserved.json
	python3 benches/instructions/compare.py $(TOOLS)/counts.json $(TOOLS)/unobserved.json

# Writes the current counts to benches/instructions/baseline.txt.
baseline: $(GUNGRAUN)/done /usr/bin/valgrind
	$(COUNT_ALL) > $(TOOLS)/counts.json
	python3 benches/instructions/compare.py $(TOOLS)/counts.json

fuzz:
	command -v cargo-fuzz > /dev/null || $(CARGO) install cargo-fuzz --locked
	for target in $(FUZZ_TARGETS); do \
		mkdir -p fuzz/corpus/$$target && \
		(cd fuzz && RUSTC_BOOTSTRAP=1 $(CARGO) fuzz run $$target corpus/$$target seeds/$$target -- \
			-max_total_time=$(FUZZ_SECONDS) -malloc_limit_mb=$(FUZZ_MALLOC_MB)) || exit 1; \
	done

# Copies the JavaScript client from npm to the folder that the crate embeds.
client: client/node_modules/.package-lock.json
	cd client && node build.mjs

# Checks that the committed files are equal to those of npm.
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

tests/cluster/node_modules/.package-lock.json: tests/cluster/package-lock.json
	cd tests/cluster && npm ci --ignore-scripts --no-audit --no-fund

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

$(AUTOBAHN)/done: $(PYTHON2)
	$(PYTHON2) -m pip install --quiet --disable-pip-version-check --target $(AUTOBAHN)/virtualenv virtualenv==20.15.1
	PYTHONPATH=$(AUTOBAHN)/virtualenv $(PYTHON2) -m virtualenv --quiet $(AUTOBAHN)
	$(AUTOBAHN)/bin/pip install --quiet $(subst @,==,$(notdir $(AUTOBAHN)))
	touch $@

$(PYTHON2):
	pyenv install 2.7.18

# Neither optimised nor with debug info, which builds in a third of the time.
$(TOOLS)/%/done:
	CARGO_PROFILE_DEV_DEBUG=0 $(CARGO) install --quiet --locked --debug --root $(@D) --target-dir $(TOOLS)/target $*
	touch $@

/usr/bin/valgrind:
	apt-get update -qq
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq valgrind

/usr/bin/chromium:
	apt-get update -qq
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq chromium

/usr/bin/redis-server: PACKAGE := redis-server
/usr/sbin/nats-server: PACKAGE := nats-server
/usr/lib/postgresql%: PACKAGE := postgresql
$(BROKERS):
	apt-get update -qq
	if [ ! -e $(POLICY) ]; then \
		trap 'rm -f $(POLICY)' EXIT; printf '#!/bin/sh\nexit 101\n' > $(POLICY); chmod +x $(POLICY); \
	fi; \
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq $(PACKAGE)
