# Two commands do everything on a fresh machine with Python and make:
#   make demo    depth, normals and a joint result of a real photograph, with the bundled model
#   make test    the whole test suite
# Also: make check (style, types, import directions), make tiny (trains the bundled models anew: hours), make clean.

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check
PHOTOS := assets/photos
OUT    ?= demo-output

.PHONY: demo test check tiny clean

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

# Two processes of one thread each: most tests are one thread of Python, or wait for a ComfyUI.
test: export OMP_NUM_THREADS = 1
test: $(VENV)/.dev
	$(BIN)/python -m pytest -n 2 --dist loadfile $(PYTEST_ARGS)

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/basedpyright
	$(BIN)/python -m pytest -q tests/core/test_package.py

# Every step can be stopped at any time; make tiny goes on where it was. The result is in out/bundle.
tiny: export OMP_NUM_THREADS = 1
tiny: $(VENV)/.dev
	$(BIN)/lotus train configs/tiny-scenes.yaml -o out/scenes --resume
	$(BIN)/lotus train configs/tiny-vae.yaml -o out/vae --resume
	$(BIN)/lotus train configs/tiny-vae-polish.yaml -o out/vae-polish --resume
	$(BIN)/lotus train configs/tiny-decoder.yaml -o out/decoder --resume
	$(BIN)/lotus train configs/tiny-latents.yaml -o out/latents --resume
	$(BIN)/lotus train configs/tiny-normal-d.yaml -o out/normal-d --resume & \
	$(BIN)/lotus train configs/tiny-depth-d.yaml -o out/depth-d --resume && wait $$!
	$(BIN)/lotus train configs/tiny-depth-g.yaml -o out/depth-g --resume
	$(BIN)/lotus train configs/tiny-bundle.yaml -o out/bundle --resume
	$(BIN)/python -m benchmarks tiny_models --folder out/bundle

clean:
	rm -rf $(VENV) $(OUT) build *.egg-info .pytest_cache .ruff_cache
