# `make run` and `make test` do everything themselves on a machine with Python 3.11+, a C compiler
# and make: they create .venv, install what pyproject.toml names, build the extensions in place and
# go. `make help` lists the rest.

MODE ?= release
VENV ?= .venv
BIN  := $(VENV)/bin
PY   := $(BIN)/python
# The first Python that is new enough; `make PYTHON=/path/to/python3.12 test` takes another.
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	  $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && exit; \
	done; echo python3)

SOURCES := $(wildcard rs/_fastpath/*.pyx rs/_fastpath/*.pxd) setup.py
DEPS    := $(VENV)/.deps
ASAN    := build/asan
# What runs under the address sanitizer: everything that hands random or broken input to the
# fast path.
ASAN_TESTS := $(wildcard $(addprefix tests/test_, differential.py attrs.py decode.py rfc7606.py \
	trie.py rib.py sets.py export.py group.py encode.py rewrite.py ingest.py exactness.py \
	filter.py pfxset.py irrload.py roa.py mrt.py recode.py load.py nexthops.py policies.py \
	policing.py showdelivery.py unsendable.py restart_rules.py))

.PHONY: help run test pytest asan asan-build asan-tests build debug lint bench guard annotate wheel clean FORCE
.DELETE_ON_ERROR:
.NOTPARALLEL:

help:
	@echo 'make run       a route server with simulated members, on loopback; Ctrl-C ends it'
	@echo 'make test      lint, types, all tests, and the fuzz tests under the address sanitizer'
	@echo 'make build     the extensions, in place; MODE=release, debug, trace or asan'
	@echo 'make debug     the same as MODE=debug build: for gdb'
	@echo 'make asan      only the part of `make test` under the address sanitizer'
	@echo 'make lint      ruff, mypy and cython-lint'
	@echo 'make bench     micro benchmarks, the pipeline without sockets, a small match of daemons'
	@echo 'make guard     instructions a route, stage by stage, beside bench/instructions.json'
	@echo 'make annotate  where the compiled code calls Python: HTML beside each .pyx'
	@echo 'make wheel     dist/*.whl'
	@echo 'make clean     away with everything that was built, .venv too'

run: build
	@$(PY) -m rs demo $(ARGS)

test: pytest asan

# A worker for each core; the tests of a file share what they have started.
pytest: build
	$(PY) -m pytest --numprocesses=auto --dist=loadfile $(ARGS)

lint: build
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/cython-lint --max-line-length 100 rs/_fastpath

bench: build
	$(PY) -m pytest bench/bench_micro.py -q --benchmark-columns=min,median,ops \
	  --benchmark-sort=name -p no:cacheprovider $(ARGS)
	$(PY) -m bench.bench_pipeline
	@if [ "$$(id -u)" -eq 0 ]; then \
	  $(PY) -m bench.wire --scenario W2,W12 --scale 0.1 --skip-missing; \
	else echo 'against other daemons: needs root, see bench/README.md'; fi

# ARGS=--update makes the figures the new baseline.
guard: build
	$(PY) -m bench.instructions $(ARGS)

debug:
	$(MAKE) MODE=debug build

annotate: build
	@echo 'rs/_fastpath/*.html: the more yellow a line, the more calls into Python'

wheel: $(DEPS)
	$(PY) -m pip wheel . --quiet --no-deps --no-build-isolation --wheel-dir dist

clean:
	rm -rf $(VENV) build dist .build-mode *.egg-info .pytest_cache .mypy_cache .ruff_cache \
	  .hypothesis .benchmarks .coverage
	rm -f rs/_fastpath/*.so rs/_fastpath/*.c rs/_fastpath/*.html
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# --- build

build: .build-mode
	@test -e $(BIN)/rs || $(PY) -m pip install --quiet --no-deps --no-build-isolation --editable . \
	  >build/log 2>&1 || { cat build/log; exit 1; }

# The mode of the last build, written by setup.py; another mode builds everything again.
ifneq ($(shell cat .build-mode 2>/dev/null),$(MODE))
.build-mode: FORCE
endif
.build-mode: $(SOURCES) $(DEPS)
	@echo 'building the extensions ($(MODE)); this takes a minute the first time'
	@mkdir -p build; RS_BUILD=$(MODE) $(PY) setup.py --quiet build_ext --inplace >build/log 2>&1 \
	  || { cat build/log; echo 'rs: building the extensions failed, see above' >&2; exit 1; }
	@touch .build-mode

# A copy of the tree, so that this build's objects are not those of the release build. Times are
# kept: what has not changed is not compiled again.
asan-build: $(DEPS)
	@mkdir -p $(ASAN)/rs/_fastpath
	@rm -rf $(ASAN)/tests $(ASAN)/bench $(ASAN)/docs $(ASAN)/rs/*.py $(ASAN)/rs/_fastpath/*.py[xi] \
	  $(ASAN)/rs/_fastpath/*.p[xy][dx]
	@cp -pR setup.py pyproject.toml README.md LICENSE tests bench docs $(ASAN)/
	@cp -p rs/*.py rs/py.typed $(ASAN)/rs/
	@cp -p rs/_fastpath/*.py rs/_fastpath/*.pyi rs/_fastpath/*.pyx rs/_fastpath/*.pxd $(ASAN)/rs/_fastpath/
	@echo 'building the extensions (asan)'
	@cd $(ASAN) && RS_BUILD=asan $(abspath $(PY)) setup.py --quiet build_ext --inplace >log 2>&1 \
	  || { cat log; echo 'rs: building with the address sanitizer failed, see above' >&2; exit 1; }

asan: $(DEPS)
	@mkdir -p build; echo 'int main(void) { return 0; }' >build/probe.c
	@if $(CC) -fsanitize=address,undefined build/probe.c -o build/probe 2>/dev/null; \
	then $(MAKE) --no-print-directory asan-tests; \
	else echo 'asan: SKIPPED, $(CC) has no address sanitizer (Debian, Ubuntu: apt install gcc)'; fi

# The interpreter knows nothing of the sanitizer, so its library has to be there before all else.
asan-tests: asan-build
	cd $(ASAN) && LD_PRELOAD=`ldd rs/_fastpath/arena.*.so | awk '/lib(clang_rt\.)?asan/ {print $$3}'` \
	  ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 \
	  $(abspath $(PY)) -m pytest -q -p no:cacheprovider --numprocesses=auto -o timeout=600 \
	  -m 'not data and not interop' $(ASAN_TESTS)

# --- a virtual environment with everything that pyproject.toml names

$(DEPS): pyproject.toml
	@$(MAKE) --no-print-directory check-machine
	@test -x $(PY) || { echo 'creating $(VENV)'; $(PYTHON) -m venv $(VENV); }
	@echo 'installing the dependencies into $(VENV)'
	@# --group needs pip 25.1
	@$(PY) -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1' \
	  && $(PY) -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["dependencies"], sep="\n")' \
	    >$(VENV)/requirements.txt \
	  && $(PY) -m pip install --quiet --requirement $(VENV)/requirements.txt --group dev \
	  || { echo 'rs: pip could not install the dependencies, see above; it needs the network' \
	    'or, with PIP_INDEX_URL or PIP_FIND_LINKS, a mirror' >&2; exit 1; }
	@touch $@

.PHONY: check-machine
check-machine:
	@$(PYTHON) -c '' 2>/dev/null || { echo 'rs: no Python: $(PYTHON) does not run.' \
	  'Debian, Ubuntu: apt install python3 python3-venv python3-dev. Fedora: dnf install python3-devel' >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "rs: $(PYTHON) is" \
	  "`$(PYTHON) -V 2>&1`, and rs needs Python 3.11 or newer. Install one (Debian 12 and" \
	  'Ubuntu 24.04 have one) or name it: make PYTHON=/path/to/python3.12' >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { echo 'rs: $(PYTHON) has no venv module.' \
	  'Debian, Ubuntu: apt install python3-venv' >&2; exit 1; }
	@cc=`$(PYTHON) -c 'import os, sysconfig; print(os.environ.get("CC") or sysconfig.get_config_var("CC"))'`; \
	  inc=`$(PYTHON) -c 'import sysconfig; print(sysconfig.get_path("include"))'`; \
	  mkdir -p build; \
	  set -- $$cc; command -v "$$1" >/dev/null || { echo "rs: no C compiler: $$1 is not there." \
	    'Debian, Ubuntu: apt install gcc libc6-dev. Fedora: dnf install gcc.' \
	    'Another one: make CC=clang' >&2; exit 1; }; \
	  echo '#include <stdio.h>' >build/probe.c; \
	  $$cc -c build/probe.c -o build/probe.o 2>/dev/null || { echo "rs: $$cc cannot compile a C file" \
	    'with <stdio.h>. Debian, Ubuntu: apt install libc6-dev. Fedora: dnf install glibc-devel' >&2; exit 1; }; \
	  echo '#include <Python.h>' >build/probe.c; \
	  $$cc -c -I"$$inc" build/probe.c -o build/probe.o 2>/dev/null || { echo "rs: no Python.h in $$inc." \
	    'Debian, Ubuntu: apt install python3-dev. Fedora: dnf install python3-devel' >&2; exit 1; }
