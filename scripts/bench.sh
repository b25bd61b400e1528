#!/usr/bin/env bash
# Measures a whole node twice: over SQLite, and over a throwaway PostgreSQL and Redis. What is given is handed to
# `posthorn bench`, scenarios for example: scripts/bench.sh --duration 30s throughput latency
# The figures are also in bench/results as JSON, and docs/benchmarks.md is made of them.
set -euo pipefail
cd "$(dirname "$0")/.."
exec </dev/null

# shellcheck source=scripts/services.sh
source scripts/services.sh
# shellcheck source=scripts/stages.sh
source scripts/stages.sh

trap services_stop EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
# A server that has run for a while uses the files of its log again, instead of filling new ones with zeros first.
POSTGRES_OPTIONS="-c min_wal_size=1GB ${POSTGRES_OPTIONS:-}"
services_start
if [[ -n $services_postgres_pid ]]; then
  psql -qtd "$TEST_DATABASE_URL" >/dev/null \
    -c "SELECT pg_logical_emit_message(false, 'bench', ''), pg_switch_wal() FROM generate_series(1, 66)" -c CHECKPOINT
fi
mkdir -p bench/results

stage 'SQLite' services_run env -u DATABASE_URL -u REDIS_URL bin/posthorn bench --baseline --json bench/results/sqlite.json "$@"

export DATABASE_URL=$TEST_DATABASE_URL REDIS_URL=$TEST_REDIS_URL
POSTHORN_ENCRYPTION_KEYS=$(head -c 32 /dev/urandom | base64)
export POSTHORN_ENCRYPTION_KEYS
own=()
if [[ -n $services_postgres_pid ]]; then
  # The databases are ours, and begin empty for each scenario.
  psql -qd "$DATABASE_URL" -c 'CREATE DATABASE second'
  second=${DATABASE_URL/postgres\?/second?}
  empty="-c 'SET client_min_messages TO warning; DROP SCHEMA public CASCADE; CREATE SCHEMA public'"
  own=(--watch "postgres=$services_postgres_pid" --second "DATABASE_URL=$second" --second "REDIS_URL=${REDIS_URL%/0}/1"
    --before "psql -qd '$DATABASE_URL' $empty && psql -qd '$second' $empty")
fi
stage 'PostgreSQL and Redis' services_run bin/posthorn bench --baseline ${own[@]+"${own[@]}"} \
  --json bench/results/postgres.json "$@"
if [[ ${#stages_failed[@]} -eq 0 ]]; then
  MACHINE="$(uname -s) $(uname -r | cut -d- -f1) ($(uname -m), $(lscpu | sed -n 's/^Model name: *//p')), $(psql --version 2>/dev/null | sed 's/psql (PostgreSQL) /PostgreSQL /')" \
    bin/posthorn bench --document docs/benchmarks.md
fi
stages_end
