# Everything a developer runs. `make` alone says what there is.
# Needs make and Python 3.11 to 3.14; the rest is installed, pinned, into .venv.

.DEFAULT_GOAL := help
.PHONY: help demo demo-kafka kafka s3 test lint bench soak pictures pins clean setup
MAKEFLAGS += --no-print-directory
# Tests and demo start hundreds of processes: what Python has compiled once is kept, also where it was told not to.
export PYTHONDONTWRITEBYTECODE =

# More arguments for the program behind a target: make test ARGS="-k rollback", make pins ARGS=--upgrade
ARGS ?=

help: ## say what there is
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' Makefile

demo: setup ## tell the whole story on real data
	@.venv/bin/deedbook demo $(ARGS)

demo-kafka: setup ## tell the same story on a real Kafka and a real S3 server
	@.venv/bin/python -P tests/servers/demo.py $(ARGS)

kafka: setup ## start a real Kafka to play with, kept in .deedbook-kafka
	@.venv/bin/python -P tests/servers/play.py kafka $(ARGS)

s3: setup ## start a real S3 server to play with, kept in .deedbook-s3
	@.venv/bin/python -P tests/servers/play.py s3 $(ARGS)

test: setup ## run the tests
	@sh requirements/chromium.sh
	@.venv/bin/pytest -q -n 4 --dist loadfile --no-loadscope-reorder $(ARGS)

lint: setup ## check style, formatting and types
	@.venv/bin/ruff check $(ARGS)
	@.venv/bin/ruff format --check
	@.venv/bin/mypy

bench: setup ## measure, each figure beside its limit or a peer
	@.venv/bin/python benchmarks/run.py $(ARGS)

soak: setup ## run the tests that take minutes: crashes and races, many times over
	@.venv/bin/pytest -m soak $(ARGS)

UV = build/pins/bin/uv
COMPILE = $(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --custom-compile-command "make pins"

pictures: setup ## take the README's pictures anew, of what make demo left
	@.venv/bin/python -P tests/servers/pictures.py

pins: ## pin again what pyproject.toml asks for, with hashes (ARGS=--upgrade for the newest)
	@rm -rf build/pins
	@$$(sh requirements/python.sh) -m venv build/pins
	@build/pins/bin/python -m pip install --quiet --require-hashes --no-deps -r requirements/pins.txt
	@$(COMPILE) $(ARGS) requirements/pins.in --output-file requirements/pins.txt
	@$(COMPILE) $(ARGS) pyproject.toml --extra dev --output-file requirements/dev.txt
	@$(COMPILE) pyproject.toml --extra service --extra worker --extra s3 --extra sklearn \
		--constraint requirements/dev.txt --output-file requirements/image.txt
	@$(COMPILE) requirements/build.in --constraint requirements/dev.txt --output-file requirements/build.txt
	@echo "Pinned: pins.txt, dev.txt, and image.txt and build.txt, which follow it, in requirements."

clean: ## remove .venv, builds and caches
	@rm -rf .venv build dist .hypothesis .mypy_cache .pytest_cache .ruff_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

setup:
	@sh requirements/install.sh
