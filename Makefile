# The first use of any target makes .venv; nothing is installed outside this folder except
# the Debian packages that `make test` names.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# pip would compile on one processor what all of them can afterwards; some files are for other Pythons.
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile -c constraints.txt
COMPILED := $(BIN)/python -m compileall -qq -j 0 $(VENV)/lib || true
DEMO_ARGS ?=
FUZZ_SECONDS ?= 30
# Without compiled files every process that a test starts would compile all of sidestep again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test check bench fuzz docs examples clean
.DEFAULT_GOAL := help

.PHONY: help
help:
	@echo 'make demo    a live fleet on this machine, and the console on it'
	@echo 'make test    all tests (installs the Debian packages they need when run as root)'
	@echo 'make check   ruff, mypy --strict, import-linter'
	@echo 'make bench   all benchmarks, into docs/performance.md'
	@echo 'make examples  the plugin packages of plugins/examples against the conformance kit'
	@echo 'make fuzz    FUZZ_SECONDS (30) of hostile input for everything that reads foreign bytes'
	@echo 'make docs    the generated pages and pictures, and the site of all pages into build/site'

$(VENV)/made:
	@scripts/python-ready '$(PYTHON)'
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/run-ready: $(VENV)/made pyproject.toml constraints.txt
	$(PIP) -e .
	@$(COMPILED)
	@touch $@

$(VENV)/test-ready: $(VENV)/made pyproject.toml constraints.txt
	$(PIP) -e '.[test]'
	@$(COMPILED)
	@touch $(VENV)/run-ready $@

demo: $(VENV)/run-ready
	@$(BIN)/sidestep demo $(DEMO_ARGS)

test: $(VENV)/test-ready
	@scripts/debian-packages openssh-client openssh-server perl mawk gawk busybox fish tcsh zsh rsync ansible-core prometheus prometheus-node-exporter chromium haproxy redis-server tmux
	@scripts/debian-packages --if-root mmdebstrap lxcfs iproute2 systemd criu
	scripts/side-by-side '$(BIN)/python -m scripts.testfleet run -- $(BIN)/python -m pytest tests/systemd' \
	$(BIN)/python -m pytest -n 5 --dist loadfile --no-loadscope-reorder --durations 40 --durations-min 5 -m "not alone" $(TEST_ARGS)
	$(BIN)/python -m pytest -m alone tests/endtoend

check: $(VENV)/test-ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy -n 2 -p sidestep -p scripts.testfleet -p scripts.faultmatrix
	$(BIN)/lint-imports
	$(BIN)/python -m scripts.traceability --check

bench: $(VENV)/test-ready
	$(BIN)/python -m benchmarks.report

$(VENV)/fuzz-ready: $(VENV)/run-ready
	$(PIP) -e '.[fuzz]'
	@touch $@

fuzz: $(VENV)/fuzz-ready
	$(BIN)/python -m scripts.fuzz --seconds $(FUZZ_SECONDS)

examples: $(VENV)/test-ready
	@scripts/debian-packages --if-root podman runc busybox-static criu
	PYTHONPATH=plugins/examples/podman/src:plugins/examples/criu/src:plugins/examples/cores/src $(BIN)/python -m pytest -rs plugins/examples

docs: $(VENV)/test-ready
	$(BIN)/python -m scripts.traceability
	$(BIN)/python -m sidestep.console.manual > docs/cli.md
	$(BIN)/python -m scripts.fleet_file
	$(BIN)/python -m scripts.pictures
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
