# `make run` and `make test` do all set-up themselves; see README.md.

PYTHON ?= python3
VENV   ?= .venv
MODE   ?= release
BIN    := $(VENV)/bin

.PHONY: run test build lint bench clean debug asan trace annotate

build: $(VENV)/.deps
	@RS_BUILD=$(MODE) $(BIN)/python -m deploy.build 2>/dev/null || true
