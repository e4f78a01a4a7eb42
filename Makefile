# make demo   what vidtwin needs in .venv; encode, decode and measure the example clip
# make test   lint, types, documentation and tests
# make test-lowest   end-to-end tests with the least versions that pyproject.toml declares, in .venv-lowest (Python 3.11)
# make docs   the documentation as HTML, in build/docs
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check

# PyPI's torch for Linux brings gigabytes of CUDA. Where there is no NVIDIA driver, the build without it comes from
# PyTorch's own index; `make demo TORCH_INDEX=` takes PyPI's.
ifeq ($(shell uname -s),Linux)
ifeq ($(shell command -v nvidia-smi),)
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
endif
endif

# torch alone, as what it needs comes from PyPI. $(1): pip, $(2): its options, $(3): what to install.
NO_INDEX := PyTorch's index did not answer; PyPI's build, which is larger, will do
from_torch_index = $(if $(TORCH_INDEX),$(1) install $(2) --no-deps --index-url $(TORCH_INDEX) --retries 1 --timeout 15 $(3) \
	|| echo "     $(NO_INDEX)",true)

.PHONY: demo test test-lowest environments lint docs format clean

# Two stamps: .demo has what running needs, .dev what working on vidtwin needs besides.
$(VENV)/.demo: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "vidtwin needs Python 3.11 or later: make PYTHON=python3.11 (this is " + sys.version.split()[0] + ")")'
	@echo "1/2  Making a virtual environment in $(VENV)"
	@$(PYTHON) -m venv $(VENV)
	@echo "2/2  Installing PyTorch and a dozen packages: minutes, the last of them quietly after 'Installing collected packages'"
	@$(call from_torch_index,$(PIP),-c constraints.txt,torch)
	@$(PIP) install -c constraints.txt -e .
	@touch $@

# --no-compile: Python writes the bytecode of what is imported; that of all the rest would take half a minute.
$(VENV)/.dev: $(VENV)/.demo
	@echo "Installing what checks and tests need"
	@$(PIP) install --no-compile -c constraints.txt -e '.[dev]'
	@touch $@

demo: $(VENV)/.demo
	@$(BIN)/python examples/demo.py

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(VENV)/.dev
	$(BIN)/sphinx-build -q -W --keep-going -b html docs build/docs

test: lint docs
	$(BIN)/pytest -n 2 --dist worksteal

LOWEST := .venv-lowest
LOWEST_TORCH := $(shell sed -n 's/^torch==//p' constraints.txt)
LOWEST_PIP := $(LOWEST)/bin/python -m pip --disable-pip-version-check
$(LOWEST)/.ready: pyproject.toml constraints-lowest.txt
	$(PYTHON) -m venv $(LOWEST)
	@$(call from_torch_index,$(LOWEST_PIP),-q --no-compile,torch==$(LOWEST_TORCH))
	$(LOWEST_PIP) install -q --no-compile -c constraints-lowest.txt torch==$(LOWEST_TORCH) \
		-e '.[train,compare,remote]' torchmetrics pytest pytest-timeout hypothesis
	@touch $@

test-lowest: $(LOWEST)/.ready
	$(LOWEST)/bin/pytest tests/test_verbs.py tests/test_latents_remote.py

# for --jobs 2, since installing takes one core
environments: $(VENV)/.dev $(LOWEST)/.ready

format: $(VENV)/.dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) $(LOWEST) demo build dist *.egg-info
