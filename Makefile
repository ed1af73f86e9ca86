# Two commands do everything on a fresh machine with Python and make:
#   make demo    depth, normals and a joint result of a real photograph, with the bundled model
#   make test    the whole test suite
# Also: make check (style, types, import directions), make clean.

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check
PHOTOS := assets/photos
OUT    ?= demo-output

.PHONY: demo test check clean

# torch first and by its exact version: a range could bring a build with CUDA where none is wanted
define install
	$(PIP) install --quiet torch==$$(sed -n 's/^torch==//p' constraints.txt) -c constraints.txt
	$(PIP) install --quiet --editable ".[$(1)]" -c constraints.txt
endef

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: $(VENV)/bin/python pyproject.toml constraints.txt
	$(call install,demo)
	@touch $@

$(VENV)/.dev: $(VENV)/bin/python pyproject.toml constraints.txt
	$(call install,dev)
	@touch $@ $(VENV)/.demo

demo: $(VENV)/.demo
	$(BIN)/lotus depth $(PHOTOS) -o $(OUT)/depth --model lotus-tiny-depth-d
	$(BIN)/lotus normal $(PHOTOS) -o $(OUT)/normal --model lotus-tiny-normal-d
	$(BIN)/lotus joint $(PHOTOS) -o $(OUT)/joint --depth-model lotus-tiny-depth-d --normal-model lotus-tiny-normal-d
	@echo "Pictures and data are in $(OUT)/"

test: $(VENV)/.dev
	$(BIN)/python -m pytest $(PYTEST_ARGS)

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/basedpyright
	$(BIN)/python -m pytest -q tests/core/test_package.py

clean:
	rm -rf $(VENV) $(OUT) build *.egg-info .pytest_cache .ruff_cache
