# Every target installs what it needs: see spec/support/provision and tests/bench/provision.

PREFIX ?= /usr/local
MODULE = target/plugins/mod_groups_internal
SOURCES = Cargo.toml Cargo.lock .cargo/config.toml $(wildcard lua/mod_groups_internal/*.lua) $(shell find src -name '*.rs')

# Where provision puts cargo if the system has too old a one, and where rustup does: an open shell does not know.
export PATH := $(CURDIR)/target/rust/bin:$(PATH):$(HOME)/.cargo/bin

OPS ?= 100000

.PHONY: help build run test soak lint bench install uninstall deb deb-test rock clean
.DEFAULT_GOAL := help

help: ## list the commands
	@sed -nE 's/^([a-z-]+):.*## (.*)/make \1\t\2/p' Makefile | expand -t 16

build: ## the plugin folder, ready for plugin_paths: target/plugins/mod_groups_internal
	@spec/support/provision build-tools crates
	cargo library
	@spec/support/place $(MODULE)

run: build ## a Prosody to try it with: demo accounts, a demo group, a group chat (PORT=5222)
	@spec/support/provision prosody
	@spec/support/demo/run

test: build ## all tests, with both Prosody versions
	@spec/support/provision prosody postgresql test-tools
	@spec/support/run-tests

soak: build ## random histories, a day of work, attacks, leaks: OPS=, SEED=, PROSODY=0.12|13, STORAGE=internal|sql|postgresql|waiting, MODE=permanent|removing|keeping|virtual|both
	@spec/support/provision prosody test-tools $(filter postgresql,$(STORAGE))
	@SPEC_PROSODY='$(PROSODY)' SPEC_STORAGE='$(if $(filter waiting,$(STORAGE)),internal,$(STORAGE))' \
		SOAK_STORAGE='$(filter waiting,$(STORAGE))' SOAK_OPS='$(OPS)' SOAK_SEED='$(or $(SEED),$(shell date +%s))' \
		SOAK_MODE='$(MODE)' SOAK_WITHOUT='$(WITHOUT)' spec/support/run-specs \
		spec/soak_spec.lua spec/day_spec.lua spec/hostile_spec.lua spec/leaks_spec.lua

lint: ## formatting, clippy, luacheck
	@spec/support/provision lint-tools crates
	cargo fmt --check
	cargo clippy --all-targets -- -D warnings
	cargo clippy --all-targets --no-default-features -- -D warnings
	luacheck -q lua spec tests

bench: build ## speed, beside the floor, ejabberd and, with PEER=DIR, another plugin folder: target/bench/speed.md; PROSODY=, STORAGE=internal|sqlite|postgres
	@spec/support/provision prosody $(if $(filter postgres,$(STORAGE)),postgresql)
	@tests/bench/provision
	@PEER='$(PEER)' tests/bench/run $(addprefix --prosody ,$(PROSODY)) $(addprefix --storage ,$(STORAGE))

install: $(MODULE)/groups_internal_native.so ## copy it to $(DESTDIR)$(PREFIX)/lib/prosody/modules
	@spec/support/place '$(DESTDIR)$(PREFIX)/lib/prosody/modules/mod_groups_internal'
	@echo 'Installed. In prosody.cfg.lua: plugin_paths = { "$(PREFIX)/lib/prosody/modules" }, and "groups_internal"' \
		'in modules_enabled. Then restart Prosody.'

$(MODULE)/groups_internal_native.so: $(SOURCES)
	@$(MAKE) --no-print-directory build

uninstall: ## remove it from there; the stored data stay
	rm -rf '$(DESTDIR)$(PREFIX)/lib/prosody/modules/mod_groups_internal'

deb: ## a Debian package (ARCH=amd64|arm64, MAINTAINER="NAME <ADDRESS>")
	@spec/support/provision build-tools crates
	@ARCH='$(ARCH)' MAINTAINER='$(MAINTAINER)' spec/support/deb

deb-test: build deb ## the package, and 'make install', in a clean Debian 12, with both Prosody versions (as root)
	@spec/support/provision package-tools
	@SPEC_STORAGE=internal spec/support/run-specs --run=root

rock: ## a rock of the sources, for 'prosodyctl install'
	@spec/support/rock

clean: ## remove all that was built, fetched and run
	rm -rf target
