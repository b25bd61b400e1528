#!/usr/bin/env bash
# Breaks real nodes and the servers under them, over SQLite and PostgreSQL, and lets a ledger decide (internal/chaos). The
# figures go to docs/reliability.json, and docs/reliability.md is written from them.
#
#   CHAOS_ROUNDS     kills over each store (default 500)
#   CHAOS_SEED       seed of the first round or world; each has the next (default: the time)
#   CHAOS_SCENARIO   one or more of kill, firststart, upgrade, stop, outage, redis, diskfull, readonly, freeze, lease, sharedlease, clock, names,
#                    receivers, blackhole, calm, simulation, soak, separated by | (default: all but soak)
#   CHAOS_SEEDS      worlds of the simulation (default 10000)
#   CHAOS_MINUTES    length of the soak (default 60)
#   CHAOS_RATE       events a second of the soak over each store (default: half of what it delivers)
#   CHAOS_CALM       deliveries over each store without a fault (default 1000000)
#   CHAOS_JSON       another file for the figures; runs at the same time may share one
set -euo pipefail
cd "$(dirname "$0")/.."
exec </dev/null

# shellcheck source=scripts/services.sh
source scripts/services.sh

require_packages postgres redis sqlite3
trap services_stop EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
services_start

scenario=${CHAOS_SCENARIO:-kill|firststart|upgrade|stop|outage|redis|diskfull|readonly|freeze|lease|sharedlease|clock|names|receivers|blackhole|calm|simulation}
figures=${CHAOS_JSON:-$PWD/docs/reliability.json}
flags=(-chaos.long -chaos.rounds "${CHAOS_ROUNDS:-500}" -chaos.calm "${CHAOS_CALM:-1000000}" -chaos.seeds "${CHAOS_SEEDS:-10000}"
  -chaos.rate "${CHAOS_RATE:-0}" -chaos.json "$figures")
[[ -z ${CHAOS_SEED:-} ]] || flags+=(-chaos.seed "$CHAOS_SEED")
if [[ $scenario == *soak* ]]; then flags+=(-chaos.minutes "${CHAOS_MINUTES:-60}"); fi

status=0
services_run go test ./internal/chaos -count 1 -timeout 0 -v -run "^Test(?i:$scenario)\$" "${flags[@]}" || status=$?
[[ -n ${CHAOS_JSON:-} ]] || go test ./internal/chaos -count 1 -run '^TestDocument$' -update
exit "$status"
