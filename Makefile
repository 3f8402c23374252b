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
.PHONY: help demo test bench powercut crash kills chaos fuzz clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-8s  %s\n", $$1, $$2 }' Makefile

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

fuzz: $(READY) ## Feed the readers of spool and rings with broken bytes for SECONDS=20
	$(BIN)/python -m tests.recorder.spool.fuzz --seconds $(SECONDS)

clean: ## Remove the environments, the caches and the demo's files
	rm -rf .venv .venv-* demo build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find drivers recorder tests hil -name __pycache__ -type d -prune -exec rm -rf {} +

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
