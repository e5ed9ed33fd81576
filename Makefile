# make demo   a simulated fleet, from its first log to the review queue (own environment, SQLite)
# make airflow  the schedule on a real Airflow and PostgreSQL, fed with simulated logs (own environment, no Docker)
# make test   every test, in an environment with every extra
# make test-tools   what tests need that is no Python package; `make test` calls it (Debian, as root)
# make docs   write the reference tables of docs/ anew from the code
# make lint   what the tests check of the code's form
# make clean  remove environments, caches and the demonstration

PYTHON ?= $(shell python3.11 --version >/dev/null 2>&1 && echo python3.11 || echo python3)
PIP_FLAGS ?=
DEMO_FOLDER ?= demo
AIRFLOW_FOLDER ?= local-airflow
PYTEST_FLAGS ?= -q -n 2 --dist loadfile

.PHONY: demo airflow test test-tools docs lint clean

demo: .venv-demo/installed
	.venv-demo/bin/axiswatch demo --folder $(DEMO_FOLDER)

airflow: .venv-airflow/installed
	.venv-airflow/bin/axiswatch airflow --folder $(AIRFLOW_FOLDER) --dags dags

test: .venv-test/installed test-tools
	.venv-test/bin/python -m pytest $(PYTEST_FLAGS)

test-tools:
	@.ci/tools

docs: .venv-test/installed
	.venv-test/bin/python docs/generate.py

lint: .venv-test/installed
	.venv-test/bin/ruff check .
	.venv-test/bin/ruff format --check .
	.venv-test/bin/mypy
	.venv-test/bin/lint-imports

.venv-demo/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv-demo
	.venv-demo/bin/python -m pip install $(PIP_FLAGS) --disable-pip-version-check -q -c constraints.txt torch==2.13.0
	.venv-demo/bin/python -m pip install $(PIP_FLAGS) --disable-pip-version-check -q -c constraints.txt -e .
	touch $@

.venv-airflow/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv-airflow
	.venv-airflow/bin/python -m pip install $(PIP_FLAGS) --disable-pip-version-check -q -c constraints.txt torch==2.13.0
	.venv-airflow/bin/python -m pip install $(PIP_FLAGS) --disable-pip-version-check -q -c constraints.txt -e '.[airflow,postgres,s3,local,review]'
	touch $@

.venv-test/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv-test
	.venv-test/bin/python -m pip install $(PIP_FLAGS) --disable-pip-version-check -q -c constraints.txt torch==2.13.0
	.venv-test/bin/python -m pip install $(PIP_FLAGS) --disable-pip-version-check -q -c constraints.txt -e '.[airflow,postgres,s3,review,dev]'
	touch $@

clean:
	rm -rf .venv-demo .venv-airflow .venv-test $(DEMO_FOLDER) $(AIRFLOW_FOLDER) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build *.egg-info
