#!/usr/bin/env bash
# Runs every test: Go's against a throwaway PostgreSQL and Redis (or those of TEST_DATABASE_URL and TEST_REDIS_URL), then
# the dashboard's unit tests, then the whole product in a browser.
#
#   RACE=1        the race detector for the packages where goroutines share state
#   GOTESTFLAGS   more flags for go test
set -euo pipefail
cd "$(dirname "$0")/.."
exec </dev/null

# shellcheck source=scripts/services.sh
source scripts/services.sh
# shellcheck source=scripts/stages.sh
source scripts/stages.sh

# The race detector costs a factor of two to ten, so it runs where the concurrency is.
race_packages=(internal/app internal/bubble internal/delivery internal/ingest internal/simtest internal/sqlite)

go_tests() {
  local flags=(-timeout 25m) all raced=() plain=() package
  # shellcheck disable=SC2206 # GOTESTFLAGS is a list of words
  flags+=(${GOTESTFLAGS:-})
  if [[ -z ${RACE:-} ]]; then
    stage 'go test' services_run go test "${flags[@]}" ./...
    return
  fi
  all=$(go list ./...)
  for package in $all; do
    if [[ " ${race_packages[*]} " == *" ${package#*/*/*/} "* ]]; then raced+=("$package"); else plain+=("$package"); fi
  done
  stage 'go test' services_run go test "${flags[@]}" "${plain[@]}"
  stage 'go test -race' services_run env CGO_ENABLED=1 go test -race "${flags[@]}" "${raced[@]}"
}

web_tests() {
  if ! command -v npm >/dev/null; then
    stage 'dashboard tests: npm is not installed' test -z "${CI:-}"
    return
  fi
  stage 'dashboard: build' services_run make --no-print-directory build
  stage 'dashboard: unit tests' services_run npm --prefix web test
  if [[ -d web/e2e ]]; then
    CHROMIUM_BIN=$(chromium_bin) || true
    export CHROMIUM_BIN
    stage 'dashboard: browser tests' services_run npm --prefix web run e2e
  fi
}

require_packages postgres redis pgbouncer chromium promtool curl jq sqlite3 python3
trap services_stop EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
services_start

stage 'go vet' services_run go vet ./...
go_tests
web_tests
stages_end
