# make demo   install, train and attack the quick preset, print the result table   (some minutes on two cores)
# make test   install, then format check, linter, type checker and tests
# make bench  install, then measure training, attacks and the growth of a sweep; tables in build/bench (half an hour)
# make faults install, then kill, stop, fill, flip and forge: every fault test, with its table  (half an hour on two cores)
# make site   install, then build the pages of docs/ as a site in build/site
# make install-dev  the development tools as well: what `make test`, the hooks and CONTRIBUTING.md use
# make browser   install Chromium and a Korean font for two of the report's tests, where apt-get may do so
# make lock   write the lock files anew from requirements*.txt (needs uv: pip install uv)
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export PYTHONPATH :=
# Where this is set, every process that a test or a sweep starts would compile the project's modules anew.
export PYTHONDONTWRITEBYTECODE :=

apt = { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1 && apt-get -qq update >/dev/null 2>&1 \
	  && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends $(1) >/dev/null 2>&1; }

.PHONY: demo test bench faults lock site install install-dev browser
.DEFAULT_GOAL := demo

install: $(VENV)/.installed

install-dev: $(VENV)/.installed-dev

demo: $(VENV)/.installed
	@echo "== training and attacking the quick preset (digits, 5 cells of 9 models; finished runs are kept)"
	$(BIN)/python train.py --preset quick --skip-existing

# The page itself needs neither to be written: where one cannot be had, its test is skipped and says so.
browser:
	@command -v chromium chromium-browser google-chrome >/dev/null 2>&1 || { \
	  echo "== installing Chromium for the report's browser test"; $(call apt,chromium) \
	  || echo "no Chromium, and none could be installed: the browser test will be skipped"; }
	@fc-list :lang=ko 2>/dev/null | grep -q . || { \
	  echo "== installing a Korean font for the test of class names in figures"; $(call apt,fonts-nanum fontconfig) \
	  || echo "no Korean font, and none could be installed: its test will be skipped"; }

test: $(VENV)/.installed-dev browser
	@echo "== format and lint"
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	@echo "== types"
	$(BIN)/mypy --num-workers auto
	@echo "== tests"
	@# A file's tests stay in one process, which trains once what several of them look at. One process more than cores,
	@# for tests that wait (for Ray, for a killed worker's successor) leave a core to others.
	@cores=$$(getconf _NPROCESSORS_ONLN); set -x; \
	  $(BIN)/python -m pytest -rs --durations 60 --dist loadfile --no-loadscope-reorder -n $$((cores < 8 ? cores + 1 : 8))

# Nothing else should run meanwhile: the figures are of the whole machine.
bench: $(VENV)/.installed
	@mkdir -p build/bench
	$(BIN)/python benchmarks/training.py --output build/bench/training.csv
	$(BIN)/python benchmarks/attacks.py --output build/bench/attacks.csv
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/attacks.py --models 257 --each --output build/bench/every_target.csv
	$(BIN)/python benchmarks/scaling.py --output build/bench/scaling.csv
	$(BIN)/python benchmarks/engines.py --engines local --output build/bench/engines.csv

# As root the disks that fill up are real ones (a tmpfs each); otherwise that row says so and is not full.
faults: $(VENV)/.installed-dev
	@mkdir -p build
	$(BIN)/python tests/faults/run.py --jobs 2 --output build/faults.csv

site: $(VENV)/.installed-dev
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet
	@echo "build/site/index.html"

$(VENV)/.installed: requirements.lock
	@echo "== creating $(VENV) and installing the packages of requirements.lock (a few minutes the first time)"
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 10) else "Python 3.10 or newer is needed: make PYTHON=python3.12")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile -r requirements.lock
	@# Bytecode is written once here, on all cores, where pip would write it on one: imports would otherwise be slow where
	@# PYTHONDONTWRITEBYTECODE is set.
	@# A package may ship files in a newer Python's syntax, which do not compile and are never imported.
	@$(BIN)/python -m compileall -q -j 0 $(VENV)/lib >/dev/null 2>&1 || true
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed requirements-dev.lock requirements-ray.lock
	@echo "== installing the development tools of requirements-dev.lock, and Ray"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile -r requirements-dev.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile -r requirements-ray.lock \
	  || echo "Ray could not be installed here: its tests will be skipped"
	@$(BIN)/python -m compileall -q -j 0 $(VENV)/lib >/dev/null 2>&1 || true
	@touch $@

# torch and torchvision are held at one release pair, for every Python version alike.
lock:
	printf 'torch==2.14.1\ntorchvision==0.29.1\n' | uv pip compile --quiet --universal --python-version 3.10 \
	  --custom-compile-command "make lock" --no-emit-index-url -c /dev/stdin requirements.txt -o requirements.lock
	uv pip compile --quiet --universal --python-version 3.10 --custom-compile-command "make lock" \
	  --no-emit-index-url requirements-dev.txt -o requirements-dev.lock
	uv pip compile --quiet --universal --python-version 3.10 --custom-compile-command "make lock" \
	  --no-emit-index-url requirements-ray.txt -o requirements-ray.lock
