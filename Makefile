# make demo   a simulated fleet, from its first log to the review application (own environment, SQLite; SERVE=0: without it)
# make airflow  the schedule on a real Airflow and PostgreSQL, fed with simulated logs (own environment, no Docker; AIRFLOW_FLAGS="--port 8081")
# make test   every test, in an environment with every extra
# make test-tools   what tests need that is no Python package; `make test` calls it (Debian, as root)
# make bench   what it costs: writes bench/bench.json and bench/bench.html (BENCH_FLAGS=--quick: small sizes)
# make torture   faults made on purpose, and whether anything is lost: writes torture/ (TORTURE_FLAGS="--faults 60": fewer)
# make bench-peers   the environment of the peers that `make bench` compares with, as far as they can be installed
# make fuzz   damaged inputs of every kind: counts of what becomes of them (FUZZ_FLAGS="--inputs 100000 --seed 7"; it can be taken up again)
# make docs   write the reference tables of docs/ anew from the code
# make lint   what the tests check of the code's form
# make audit  known holes of the pinned libraries (asks the index and fails where that cannot say), and bandit over the code
# make sbom   sbom.json: every library of the test environment with version and licence (CycloneDX)
# make clean  remove environments, caches and the demonstration

PYTHON ?= $(shell python3.11 --version >/dev/null 2>&1 && echo python3.11 || echo python3)
PIP_FLAGS ?=
DEMO_FOLDER ?= demo
SERVE ?= $(if $(CI),0,1)
AIRFLOW_FOLDER ?= local-airflow
AIRFLOW_FLAGS ?=
BENCH_FOLDER ?= bench
BENCH_FLAGS ?=
FUZZ_FLAGS ?= --inputs 10000 --out fuzz
TORTURE_FOLDER ?= torture
TORTURE_FLAGS ?=
PYTEST_FLAGS ?= -q -n 2 --dist loadfile

.PHONY: demo airflow test test-tools bench torture bench-peers fuzz docs lint audit sbom clean

demo: .venv-demo/installed
	.venv-demo/bin/axiswatch demo --folder $(DEMO_FOLDER) $(if $(filter-out 0,$(SERVE)),--serve)

airflow: .venv-airflow/installed
	.venv-airflow/bin/axiswatch airflow --folder $(AIRFLOW_FOLDER) --dags dags $(AIRFLOW_FLAGS)

test: .venv-test/installed test-tools
	.venv-test/bin/python -m pytest $(PYTEST_FLAGS)

test-tools:
	@.ci/tools

bench: .venv-bench/installed
	.venv-bench/bin/python benchmarks/costs/run.py --out $(BENCH_FOLDER) $(BENCH_FLAGS)

torture: .venv-test/installed
	.venv-test/bin/python -m benchmarks.torture.campaign --out $(TORTURE_FOLDER) $(TORTURE_FLAGS)

bench-peers: .venv-bench-peers/installed

fuzz: .venv-test/installed
	.venv-test/bin/python -W ignore -m benchmarks.fuzz $(FUZZ_FLAGS)

docs: .venv-test/installed
	.venv-test/bin/python docs/generate.py

lint: .venv-test/installed
	.venv-test/bin/ruff check .
	.venv-test/bin/ruff format --check .
	.venv-test/bin/mypy
	.venv-test/bin/lint-imports

audit: .venv-audit/installed
	.venv-audit/bin/bandit -q -c pyproject.toml -r features models pipeline review dags
	.venv-audit/bin/pip-audit --strict --no-deps --disable-pip -r constraints.txt

sbom: .venv-audit/installed .venv-test/installed
	.venv-audit/bin/cyclonedx-py environment --pyproject pyproject.toml --output-reproducible -o sbom.json .venv-test/bin/python

.venv-demo/installed: pyproject.toml constraints.txt Makefile
	$(PYTHON) -m venv .venv-demo
	.venv-demo/bin/python -m pip install $(PIP_FLAGS) --disable-pip-version-check -q -c constraints.txt torch==2.13.0
	.venv-demo/bin/python -m pip install $(PIP_FLAGS) --disable-pip-version-check -q -c constraints.txt -e '.[review]'
	touch $@

.venv-airflow/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv-airflow
	.venv-airflow/bin/python -m pip install $(PIP_FLAGS) --disable-pip-version-check -q -c constraints.txt torch==2.13.0
	.venv-airflow/bin/python -m pip install $(PIP_FLAGS) --disable-pip-version-check -q -c constraints.txt -e '.[airflow,postgres,s3,local,review]'
	touch $@

.venv-test/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv-test
	.venv-test/bin/python -m pip install $(PIP_FLAGS) --disable-pip-version-check -q -c constraints.txt torch==2.13.0
	.venv-test/bin/python -m pip install $(PIP_FLAGS) --disable-pip-version-check -q -c constraints.txt -e '.[airflow,postgres,production,s3,review,formats,dev]'
	touch $@

.venv-bench/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv-bench
	.venv-bench/bin/python -m pip install $(PIP_FLAGS) --disable-pip-version-check -q -c constraints.txt torch==2.13.0
	.venv-bench/bin/python -m pip install $(PIP_FLAGS) --disable-pip-version-check -q -c constraints.txt -e '.[postgres,bench]'
	touch $@

.venv-bench-peers/installed: pyproject.toml constraints.txt benchmarks/costs/peers-requirements.txt
	$(PYTHON) -m venv .venv-bench-peers
	.venv-bench-peers/bin/python -m pip install $(PIP_FLAGS) --disable-pip-version-check -q -c constraints.txt torch==2.13.0
	.venv-bench-peers/bin/python -m pip install $(PIP_FLAGS) --disable-pip-version-check -q -c constraints.txt -e .
	-sed 's/ *#.*//' benchmarks/costs/peers-requirements.txt | xargs -n 1 .venv-bench-peers/bin/python -m pip install $(PIP_FLAGS) \
		--disable-pip-version-check -q torch==2.13.0
	touch $@

.venv-audit/installed: Makefile
	$(PYTHON) -m venv .venv-audit
	.venv-audit/bin/python -m pip install $(PIP_FLAGS) --disable-pip-version-check -q bandit==1.9.4 pip-audit==2.10.1 cyclonedx-bom==7.5.0
	touch $@

clean:
	rm -rf .venv-audit sbom.json .venv-demo .venv-airflow .venv-test .venv-bench .venv-bench-peers $(BENCH_FOLDER) $(TORTURE_FOLDER) $(DEMO_FOLDER) $(AIRFLOW_FOLDER) fuzz .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build *.egg-info
