#!/bin/sh
# Makes a role and a database for each application, at the first start of PostgreSQL. No role is a superuser.
# axiswatch_owner migrates axiswatch's database and owns the history, to which the role axiswatch may only add rows.
set -eu
for name in airflow axiswatch; do
    case "$name" in airflow) password="$DB_PASSWORD_AIRFLOW" ;; *) password="$DB_PASSWORD_AXISWATCH" ;; esac
    psql -v ON_ERROR_STOP=1 -v name="$name" -v password="$password" --username "${POSTGRES_USER:-postgres}" --dbname postgres <<'SQL'
CREATE ROLE :"name" LOGIN PASSWORD :'password' NOSUPERUSER NOCREATEDB NOCREATEROLE;
CREATE DATABASE :"name" OWNER :"name";
REVOKE ALL ON DATABASE :"name" FROM PUBLIC;
SQL
done
psql -v ON_ERROR_STOP=1 -v password="$DB_PASSWORD_OWNER" --username "${POSTGRES_USER:-postgres}" --dbname postgres <<'SQL'
CREATE ROLE axiswatch_owner LOGIN PASSWORD :'password' NOSUPERUSER NOCREATEDB NOCREATEROLE IN ROLE axiswatch;
ALTER DATABASE axiswatch OWNER TO axiswatch_owner;
SQL
