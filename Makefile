# Each target sets up what it needs; nothing is installed again while its requirements are unchanged.

PYTHON ?= python3
MINUTES ?= 10
BIN := .venv/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check

# TEST_OPTIONS holds further options for pytest.
PYTEST := $(BIN)/pytest -n 4 --dist worksteal $(TEST_OPTIONS)
ON_SQLITE := -m "not services" --ignore=tests/projects
# What the tests in a browser check does not depend on the database, nor does what these check. Only
# here, though, the libraries are installed for whose exceptions there are tests.
CALLS := $(filter-out %/test_libraries.py,$(wildcard tests/circuits/calls/test_*.py))
SAME_ON_EACH := $(CALLS) tests/circuits/integrations tests/circuits/management \
	tests/circuits/steering/test_permissions.py tests/circuits/test_translations.py \
	tests/faults/test_permissions.py tests/test_docs.py
ON_SERVERS := -m "not browser" --hypothesis-profile brief $(SAME_ON_EACH:%=--ignore=%)

.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
.PHONY: help setup demo run test coverage test-services test-matrix test-matrix-services test-libraries mutants soak bench bench-site bench-check screenshots lint types messages docs wheel dist clean

help:  ## Show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 22

setup: .venv/ready .env  ## Make .venv and .env

demo: setup migrate  ## Play the life of a circuit over real HTTP
	@$(BIN)/python manage.py demo

run: setup migrate  ## Run site, mock remote, Celery worker and beat until Ctrl-C
	@$(BIN)/python manage.py first_superuser
	@PORT=$$($(BIN)/python -m cbproject.ports) || exit; \
		export REMOTE_URL=http://127.0.0.1:$$PORT PATH="$(CURDIR)/$(BIN):$$PATH"; \
		honcho --env /dev/null start --port $$PORT || [ $$? -eq 130 ]  # 130 is how Ctrl-C ends it

test: .venv/ready  ## Run the tests on SQLite, which needs no servers
	$(PYTEST) $(ON_SQLITE)

coverage: .venv/ready  ## Run them, and list the lines and branches of the app that no test reaches
	$(PYTEST) $(ON_SQLITE) --cov --cov-branch --cov-report=term-missing:skip-covered

test-services: .venv/services  ## Run the tests on PostgreSQL and MariaDB, with Redis and RabbitMQ
	@$(BIN)/python -m tests.services
	TEST_DATABASE=postgres $(PYTEST) $(ON_SERVERS)
	TEST_DATABASE=mariadb $(PYTEST) $(ON_SERVERS)

test-matrix: .venv/dev  ## Run the tests on each supported Python that is installed, and each Django
	$(BIN)/nox $(if $(SESSIONS),--session $(SESSIONS))

test-matrix-services: .venv/dev  ## Run the tests that depend on drivers, on the newest and lowest
	$(BIN)/nox --session newest-servers lowest-servers

test-libraries: var/libraries/ready  ## Run the suites of requests and httpx with circuits in between
	var/libraries/bin/python -m tests.libraries

mutants: var/mutants/venv/ready  ## Put faults into ROOMS for MINUTES, and list those that no test notices
	nice var/mutants/venv/bin/python -m tests.mutants --minutes $(MINUTES) $(ROOMS)

soak: .venv/services  ## Run the fault tests for MINUTES on PostgreSQL and on MariaDB
	@$(BIN)/python -m tests.services
	SOAK_MINUTES=$(MINUTES) TEST_DATABASE=postgres $(BIN)/pytest tests/faults
	SOAK_MINUTES=$(MINUTES) TEST_DATABASE=mariadb $(BIN)/pytest tests/faults

bench: .venv/bench  ## Measure everything against other libraries, and write docs/benchmarks.*
	$(BIN)/python -m bench --out docs

bench-site: .venv/bench  ## Measure what an outage costs a site, and write docs/site.json and the pages
	$(BIN)/python -m bench.site --out docs

bench-check: .venv/bench  ## Measure two cases again, and compare their ratios with docs/benchmarks.json
	$(BIN)/python -m bench --quick --only hot refusal --check docs/benchmarks.json

screenshots: .venv/ready  ## Take the screenshots of the docs again, with Chromium
	$(BIN)/python -m tests.browser.screenshots --out docs/images

lint: .venv/dev  ## Check style and formatting
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: .venv/dev  ## Check the type hints
	$(BIN)/mypy

messages: .venv/ready  ## Gather the texts to translate, and compile translations (needs GNU gettext)
	cd circuits && ../$(BIN)/django-admin makemessages --all --no-obsolete --no-location --no-wrap
	cd circuits && ../$(BIN)/django-admin compilemessages

docs: .venv/docs  ## Build the docs as a site in var/docs; a warning is an error
	$(BIN)/sphinx-build --quiet --fail-on-warning --keep-going --fresh-env -b html docs var/docs
	@echo "The docs are in var/docs/index.html."

wheel: .venv/ready  ## Build the wheel of the app in dist/
	@rm -rf build
	$(BIN)/python -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir dist .

dist: .venv/release  ## Build the release in dist/, and check it
	@rm -rf build dist *.egg-info
	$(BIN)/python -m build --outdir dist
	$(BIN)/twine check --strict dist/*

clean:  ## Remove .venv and everything that the project wrote except .env
	rm -rf .venv var build dist *.egg-info .coverage htmlcov .hypothesis .mypy_cache .pytest_cache .ruff_cache

.PHONY: migrate
migrate: setup
	@$(BIN)/python manage.py migrate --verbosity 0
	@$(BIN)/python manage.py migrate --verbosity 0 --database circuits

.env:
	@umask 077; $(PYTHON) -c 'import secrets; print("DJANGO_DEBUG=true\nDJANGO_SECRET_KEY=" + secrets.token_urlsafe(50))' > $@

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "Python 3.11 or later is needed, and $(PYTHON) is not: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@$(PYTHON) -m venv .venv || { rm -rf .venv; exit 1; }

.venv/ready: requirements.txt | .venv/bin/python
	@$(INSTALL) -r requirements.txt && touch $@

.venv/dev: requirements-dev.txt .venv/ready
	@$(INSTALL) -r requirements-dev.txt && touch $@

.venv/services: requirements-services.txt .venv/ready
	@$(INSTALL) -r requirements-services.txt && touch $@

.venv/bench: requirements-bench.txt .venv/services
	@$(INSTALL) -r requirements-bench.txt && touch $@

.venv/docs: requirements-docs.txt .venv/services
	@$(INSTALL) -r requirements-docs.txt && touch $@

var/libraries/ready: requirements-libraries.txt requirements.txt | .venv/bin/python
	@$(BIN)/python -m venv var/libraries
	@var/libraries/bin/python -m pip install --quiet --disable-pip-version-check -r requirements-libraries.txt && touch $@

var/mutants/venv/ready: requirements-mutants.txt requirements.txt | .venv/bin/python
	@$(BIN)/python -m venv var/mutants/venv
	@var/mutants/venv/bin/python -m pip install --quiet --disable-pip-version-check -r requirements-mutants.txt && touch $@

.venv/release: requirements-release.txt .venv/ready
	@$(INSTALL) -r requirements-release.txt && touch $@
