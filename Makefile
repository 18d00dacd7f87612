# make demo   trains a LeNet on handwritten digits and leaves a run worth looking at
# make test   import rules and tests;  make check  also format, lint and types;  make test-slow  the long tests;
# make test-endurance  the longest
# Each sets up what it needs in .venv the first time, and nothing the second time.

VENV := .venv
PYTHON ?= python3
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
CPU_WHEELS := https://download.pytorch.org/whl/cpu

.PHONY: demo test test-slow test-endurance check docs linkcheck clean

demo: $(VENV)/.ready
	$(BIN)/lenext train lenet --data digits

test: $(VENV)/.ready-dev
	$(BIN)/lint-imports --no-logo
	$(BIN)/pytest -n auto --dist loadfile -m "not slow and not endurance"

test-slow: $(VENV)/.ready-dev
	$(BIN)/pytest -n 2 -m slow

test-endurance: $(VENV)/.ready-dev
	$(BIN)/pytest -n 2 -m endurance

check: $(VENV)/.ready-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(MAKE) test

docs: $(VENV)/.ready-dev
	$(BIN)/sphinx-build --fail-on-warning --keep-going --jobs auto -b html docs docs/_build/html

linkcheck: $(VENV)/.ready-dev
	$(BIN)/sphinx-build -b linkcheck docs docs/_build/linkcheck

clean:
	rm -rf $(VENV) docs/_build docs/reference/generated .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

# The usual Linux wheels of torch bring gigabytes of CUDA; where there is no NVIDIA driver, the CPU's are taken if they
# can be had. Only torch itself is looked for there, once, so that nothing waits where that index cannot be reached.
$(VENV)/.torch: constraints.txt
	@echo "setting up $(VENV), a minute or two the first time"
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@command -v nvidia-smi >/dev/null || \
	  $(PIP) --no-deps --retries 1 --timeout 10 --extra-index-url $(CPU_WHEELS) -c constraints.txt torch || true
	@touch $@

$(VENV)/.ready: $(VENV)/.torch pyproject.toml constraints.txt
	$(PIP) -c constraints.txt -e .
	@touch $@

$(VENV)/.ready-dev: $(VENV)/.ready
	$(PIP) -c constraints.txt -e '.[dev]'
	@touch $@
