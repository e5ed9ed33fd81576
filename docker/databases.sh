#!/bin/sh
# Makes a role and a database for each application, at the first start of PostgreSQL. Neither role is a superuser.
set -eu
for name in airflow axiswatch; do
    case "$name" in airflow) password="$DB_PASSWORD_AIRFLOW" ;; *) password="$DB_PASSWORD_AXISWATCH" ;; esac
    psql -v ON_ERROR_STOP=1 -v name="$name" -v password="$password" --username "${POSTGRES_USER:-postgres}" --dbname postgres <<'SQL'
CREATE ROLE :"name" LOGIN PASSWORD :'password' NOSUPERUSER NOCREATEDB NOCREATEROLE;
CREATE DATABASE :"name" OWNER :"name";
REVOKE ALL ON DATABASE :"name" FROM PUBLIC;
SQL
done
