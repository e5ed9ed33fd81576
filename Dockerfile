# The image of every part of axiswatch: Airflow with axiswatch installed into it. Any Debian with Python 3.11 will do as base:
#   docker build --build-arg BASE=debian:bookworm -t axiswatch .
# `axiswatch backup` needs a pg_dump that is not older than the server: Debian trixie has 17, bookworm has 15.
ARG BASE=python:3.11-slim-trixie
FROM ${BASE}

# How pip finds the CPU build of torch where the registry gives the CUDA one; see the README.
ARG TORCH_PIP_FLAGS=""
ARG PIP_FLAGS=""

RUN command -v python3.11 >/dev/null && python3.11 -m venv --help >/dev/null 2>&1 \
    || (apt-get update && apt-get install -y --no-install-recommends python3.11 python3.11-venv && rm -rf /var/lib/apt/lists/*)
RUN apt-get update && apt-get install -y --no-install-recommends postgresql-client && rm -rf /var/lib/apt/lists/*
RUN python3.11 -m venv /opt/axiswatch \
    && useradd --system --uid 50000 --gid 0 --home-dir /opt/airflow --create-home axiswatch

ENV PATH=/opt/axiswatch/bin:$PATH \
    AIRFLOW_HOME=/opt/airflow \
    AIRFLOW__CORE__DAGS_FOLDER=/opt/axiswatch/dags \
    AIRFLOW__CORE__LOAD_EXAMPLES=False \
    AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION=False \
    OMP_NUM_THREADS=1 \
    PYTHONUNBUFFERED=1

WORKDIR /opt/axiswatch/source
COPY constraints.txt pyproject.toml README.md ./
RUN pip install --no-cache-dir ${PIP_FLAGS} ${TORCH_PIP_FLAGS} -c constraints.txt torch==2.13.0
COPY features features
COPY models models
COPY pipeline pipeline
COPY review review
RUN pip install --no-cache-dir ${PIP_FLAGS} -c constraints.txt '.[airflow,production,postgres,s3,review,formats]'
COPY dags /opt/axiswatch/dags
COPY docker/axiswatch-init /opt/axiswatch/bin/axiswatch-init

USER axiswatch
WORKDIR /opt/airflow
CMD ["axiswatch", "--help"]
