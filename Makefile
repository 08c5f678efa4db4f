# `make demo` and `make test` set up all they need on a fresh machine: a virtual environment, the package, the devkit.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip
DONE   := $(VENV)/.installed
JOBS   ?= 2

.PHONY: demo test lint install clean
.DELETE_ON_ERROR:

demo: $(DONE)
	$(BIN)/worldmodel demo

test: $(DONE)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) --dist loadfile

lint: $(DONE)
	$(BIN)/ruff check .
	$(BIN)/mypy

install: $(DONE)

# The devkit's metadata pins numpy < 2 though it runs with numpy 2; resolved normally it would bring an old Hydra and a
# Rerun that does not import. So its real needs are our extra [nuscenes], and it comes without its own list.
$(DONE): pyproject.toml constraints.txt Makefile
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { \
	  echo "error: Python 3.10 or newer is needed: make PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -c 'import ctypes; ctypes.CDLL("libX11.so.6")' 2>/dev/null || { \
	  echo "error: the renderer of the toy world needs the system library libX11:"; \
	  echo "       sudo apt-get update && sudo apt-get install -y libx11-6"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet --constraint constraints.txt --editable ".[nuscenes,dev]"
	$(PIP) install --quiet --no-deps nuscenes-devkit==1.2.0
	@touch $@

clean:
	rm -rf $(VENV) build dist ./*.egg-info .pytest_cache .mypy_cache .ruff_cache
