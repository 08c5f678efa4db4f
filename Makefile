# `make demo` and `make test` set up all they need on a fresh machine: a virtual environment, the package, the devkit.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip
CORE   := $(VENV)/.core-installed
ALL    := $(VENV)/.all-installed
DOCS   := $(VENV)/.docs-installed
JOBS   ?= 2

# A worker runs whole files, whose fixtures are then made once.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder

.PHONY: demo check test test-quick docs install clean
.DELETE_ON_ERROR:

demo: $(CORE)
	$(BIN)/worldmodel demo

test: $(ALL)
	$(PYTEST)

# What takes no more than seconds each; the ten that take longest are named, so that a slow one gets its mark.
test-quick: $(ALL)
	$(PYTEST) -m "not slow" --durations=10

check: $(ALL)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(DOCS)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

install: $(ALL)

$(CORE): pyproject.toml constraints.txt Makefile
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { \
	  echo "error: Python 3.10 or newer is needed: make PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -c 'import ctypes; ctypes.CDLL("libX11.so.6")' 2>/dev/null || { \
	  echo "error: the renderer of the toy world needs the system library libX11:"; \
	  echo "       sudo apt-get update && sudo apt-get install -y libx11-6"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@echo "installing the package and what it needs into $(VENV): some minutes, once"
	$(PIP) install --quiet --constraint constraints.txt --editable .
	@touch $@

# The devkit's metadata pins numpy < 2 though it runs with numpy 2; resolved normally it would bring an old Hydra and a
# Rerun that does not import. So its real needs are our extra [nuscenes], and it comes without its own list.
$(ALL): $(CORE)
	@echo "installing what the tests need"
	$(PIP) install --quiet --constraint constraints.txt --editable ".[nuscenes,dev,export,trt-check]"
	$(PIP) install --quiet --no-deps nuscenes-devkit==1.2.0
	@touch $@

$(DOCS): $(CORE)
	$(PIP) install --quiet --constraint constraints.txt --editable ".[docs]"
	@touch $@

clean:
	rm -rf $(VENV) build dist site ./*.egg-info .pytest_cache .mypy_cache .ruff_cache
