# `make demo` and `make test` start from a bare machine: Python 3.10 to 3.12 and nothing else installed by hand.
# See msgnn_plugin/cli/main.py.
export OMP_WAIT_POLICY ?= PASSIVE
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip
# BasicSR's installer asks for tb-nightly and imports torch while it builds, mmengine's for a second OpenCV: the
# libraries both run on come from the extra [all], the two packages themselves without their lists.
TOOLBOXES := basicsr==1.4.2 mmengine==0.10.7

.PHONY: setup demo test check sanitize clean

setup: $(VENV)/.done

$(VENV)/.done: pyproject.toml setup.py constraints.txt Makefile $(wildcard ops/*/*)
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet --constraint constraints.txt torch torchvision setuptools wheel
	$(PIP) install --quiet --constraint constraints.txt --no-build-isolation --editable ".[all,dev]"
	$(PIP) install --quiet --no-build-isolation --no-deps $(TOOLBOXES)
	touch $@

demo: setup
	$(BIN)/python scripts/demo.py

# What the page of `basicsr demo` is served by is heavy: the tests need it, `make demo` does not.
$(VENV)/.page: $(VENV)/.done
	$(PIP) install --quiet --constraint constraints.txt gradio
	touch $@

test: $(VENV)/.page
	$(BIN)/python -m pytest -m "not slow"

check: $(VENV)/.page
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m pytest -m slow

# The ops' tests on a copy of the package whose kernels are built under sanitizers. Leaks are not sought: Python has its own.
sanitize: setup
	MSGNN_SANITIZE=1 $(BIN)/python setup.py --quiet build --build-temp build/sanitize-objects --build-lib build/sanitize
	LD_PRELOAD="$$($(CXX) -print-file-name=libasan.so) $$($(CXX) -print-file-name=libubsan.so)" \
	ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=print_stacktrace=1 MSGNN_REQUIRE_OPS=1 \
	$(BIN)/python -m pytest -p no:cacheprovider -o "pythonpath=build/sanitize ." tests/ops -m "not slow"

clean:
	rm -rf $(VENV) build dist *.egg-info
