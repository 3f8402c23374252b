# The project's commands. `make` alone lists them.
#
# PYTHON selects the interpreter; one other than python3 gets an environment of its own beside .venv.

PYTHON ?= python3
# Length of the demo's recording in seconds.
SECONDS ?= 20
# Test processes at a time.
JOBS ?= 2
# How often a campaign does what it does: cuts of the power, or examples.
N ?= 200

VENV := $(if $(filter python3,$(PYTHON)),.venv,.venv-$(notdir $(PYTHON)))
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test bench powercut crash kills chaos audit clock frames fuzz wheels deb install uninstall hil-units hil hil-short hil-report vm clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-9s  %s\n", $$1, $$2 }' Makefile

demo: $(READY) ## Record for SECONDS=20 from the models, upload, read back, compare; all in demo/
	$(BIN)/recorder demo --seconds $(SECONDS) --dir demo

# The power cuts need FUSE. Where it cannot be had, their tests are skipped and say why.
.PHONY: fuse
fuse:
	@ldconfig -p 2>/dev/null | grep -q libfuse3 || ($(call apt,fuse3)) || true

test: $(READY) fuse ## Format, linter, types, import contracts and every test that needs no bench
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest -n $(JOBS) --dist loadfile

bench: $(READY) ## Measure the write path, the upload and the full load beside their peers
	$(BIN)/python -m tests.bench

powercut: $(READY) fuse ## Cut the power of a recorder N=200 times on a real file system and recover (root)
	$(BIN)/python -m tests.powercut --cuts $(N)

crash: $(READY) ## Play N=200 random lives of a spool against a model of it
	$(BIN)/python -m tests.crash --examples $(N)

kills: $(READY) ## Kill lanes and spool N=200 times under full load, and look what is there
	$(BIN)/python -m tests.crash.kills --kills $(N)

chaos: $(READY) ## Upload N=200 times over links, processes and disks that fail, and look what arrived
	$(BIN)/python -m tests.chaos --campaigns $(N)

audit: $(READY) ## Audit N=200 recordings that lose samples everywhere, from their rows alone
	$(BIN)/python -m tests.audit --runs $(N)

clock: $(READY) ## Tell the time of N=200 simulated boots, and hold it against the truth
	$(BIN)/python -m tests.clock --boots $(N)

frames: $(READY) ## Compare the lost frames of a lane with the camera model's own count
	$(BIN)/python -m tests.drivers.frames --frames 10000

fuzz: $(READY) ## Feed the readers of spool and rings with broken bytes for SECONDS=20
	$(BIN)/python -m tests.recorder.spool.fuzz --seconds $(SECONDS)

# What the installer needs of the machine: the system's own Python, whose version the wheels are for.
SYSTEM_PYTHON := /usr/bin/python3
PYTHON_VERSION ?= $(shell $(SYSTEM_PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])')
ARCH ?= $(shell dpkg --print-architecture)
VERSION := $(shell sed -n 's/^__version__ = "\(.*\)"/\1/p' recorder/__init__.py)

wheels: $(READY) ## Gather in build/wheels what an installation without a network needs (ARCH= PYTHON_VERSION=)
	systemd/package/wheels build/wheels $(ARCH) $(PYTHON_VERSION)
	systemd/package/tools gather build/wheels

deb: $(READY) ## Build the Debian package in dist/ (ARCH=arm64 PYTHON_VERSION=3.11 for Pi OS bookworm)
	systemd/package/deb dist $(ARCH) $(PYTHON_VERSION)

# An installation is made in folders of its own by the system's Python: a box needs no linter.
MADE := build/install
install: export PYTHON_BIN = $(MADE)/tools/bin/python
install: ## Install on this machine: units, users, program, all but the configuration if there is one (root; WHEELS=)
	@[ "$$(id -u)" = 0 ] || { echo "installing needs root: sudo make install" >&2; exit 2; }
	@! dpkg -s edge-recorder >/dev/null 2>&1 || { echo "the Debian package is installed; upgrade that" >&2; exit 2; }
	@$(SYSTEM_PYTHON) -c 'import ensurepip, venv' 2>/dev/null || $(call apt,python3-venv)
	rm -rf $(MADE)
	systemd/package/tools make $(MADE)/tools
	systemd/package/wheels $(MADE)/wheels $(ARCH) $(PYTHON_VERSION)
	$(PYTHON_BIN) -m pip --quiet --disable-pip-version-check install --no-index --no-deps $(MADE)/wheels/*.whl
	systemd/package/stage $(MADE)/stage $(MADE)/wheels
	systemd/package/lay $(MADE)/stage
	install -d -m 750 /etc/recorder
	[ -e /etc/recorder/recorder.toml ] || install -m 640 systemd/recorder.toml /etc/recorder/recorder.toml
	/usr/lib/edge-recorder/set-up install $(VERSION)
	rm -rf $(MADE)

uninstall: ## Remove what install brought; recordings and configuration stay (root)
	@[ "$$(id -u)" = 0 ] || { echo "uninstalling needs root: sudo make uninstall" >&2; exit 2; }
	@! dpkg -s edge-recorder >/dev/null 2>&1 || { echo "the Debian package is installed: apt remove edge-recorder" >&2; exit 2; }
	[ ! -x /usr/lib/edge-recorder/set-up ] || /usr/lib/edge-recorder/set-up remove
	systemd/package/lay --remove

# The bench. Where what a level needs cannot be had, its tests are skipped and say why.
HIL = $(BIN)/pytest -p no:randomly -p no:xdist --timeout 1800 -rs $(AGAIN) --junitxml

# Level 0.5: Debian's own systemd in a container, the package installed in it.
hil-units: $(READY) ## Install the package in a booted Debian 13, break it, upgrade it, remove it (root)
	@{ command -v mmdebstrap && command -v systemd-nspawn && command -v dpkg-deb; } >/dev/null || \
		($(call apt,systemd-container mmdebstrap dpkg)) || true
	$(HIL) build/hil-units.xml hil/units

# Level 1: a virtual machine with Debian's kernel and devices that are plugged into it over USB.
hil: vm fuse ## Play every scenario of the bench on real kernel devices, and cut the power (root)
	$(HIL) build/hil.xml hil/scenarios hil/picamera hil/kernel hil/cuts

hil-short: vm fuse ## The scenarios and cuts of the bench that every change should stand (root)
	$(HIL) build/hil.xml -m short hil/scenarios hil/cuts

hil-report: $(READY) ## Write one page of what the bench's last runs found: build/hil.html
	$(BIN)/python -m hil.report

vm: $(READY) ## Build the bench's virtual machine, boot it and save it for the scenarios (root)
	@(for one in qemu-system-x86_64 qemu-img swtpm mmdebstrap dpkg-deb mkfs.ext4; do command -v $$one >/dev/null || exit 1; done) || \
		($(call apt,qemu-system-x86 qemu-utils swtpm mmdebstrap dpkg e2fsprogs)) || true
	@$(BIN)/python -m hil.vm

clean: ## Remove the environments, the caches and the demo's files
	rm -rf .venv .venv-* demo build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find drivers recorder tests hil systemd -name __pycache__ -type d -prune -exec rm -rf {} +

# The environment. A second call finds the stamp and does nothing.
$(READY): pyproject.toml requirements/build.txt requirements/lock.txt
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) is not installed; try: apt-get install python3, or PYTHON=…" >&2; exit 2; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "$(PYTHON) is older than 3.11; give a newer one with PYTHON=…" >&2; exit 2; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || $(call apt,$(notdir $(PYTHON))-venv)
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --require-hashes --requirement requirements/build.txt
	$(PIP) install --require-hashes --no-build-isolation --requirement requirements/lock.txt
	$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

# Debian splits venv's own parts off; only a root user, directly or by sudo, can add them.
define apt
{ \
	command -v apt-get >/dev/null || { echo "missing: install $(1)" >&2; exit 2; }; \
	if [ "$$(id -u)" = 0 ]; then as=; elif command -v sudo >/dev/null; then as=sudo; \
	else echo "missing: run as root: apt-get install $(1)" >&2; exit 2; fi; \
	$$as apt-get update --quiet && DEBIAN_FRONTEND=noninteractive $$as apt-get install --yes --quiet --no-install-recommends $(1); \
}
endef
