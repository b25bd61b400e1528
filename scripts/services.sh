# shellcheck shell=bash
# Sourced by the other scripts. Owns the throwaway PostgreSQL and Redis of a test run: each on a free port of 127.0.0.1,
# in a directory of its own, gone when the run ends.
#
#   source scripts/services.sh
#   trap services_stop EXIT
#   services_start            # exports TEST_DATABASE_URL and TEST_REDIS_URL; one that is already set is respected
#
# POSTGRES_OPTIONS adds options to the PostgreSQL server, such as "-c fsync=off". Both servers end with the shell that
# started them, even when it is killed, where setpriv can arrange that.

# shellcheck source=scripts/packages.sh
source "$(dirname "${BASH_SOURCE[0]}")/packages.sh"

services_dir=
services_stops=() # "PID SIGNAL" of each running server
services_group=   # the process group of services_run's command
services_postgres_pid=

# services_start starts what the environment does not name already.
services_start() {
  local need=()
  [[ -n ${TEST_DATABASE_URL:-} ]] || need+=(postgres)
  [[ -n ${TEST_REDIS_URL:-} ]] || need+=(redis)
  [[ ${#need[@]} -gt 0 ]] || return 0
  require_packages "${need[@]}" || return
  services_directory || return
  local service
  for service in "${need[@]}"; do "services_start_$service" || return; done
}

# services_stop ends what services_start and services_run started, by process id, and removes the servers' files. It is for
# the end of a script: a second signal, as a closing terminal sends, must not cut it short.
services_stop() {
  local stop
  trap '' INT TERM HUP
  [[ -z $services_group ]] || kill -TERM -- "-$services_group" 2>/dev/null || true
  for stop in ${services_stops[@]+"${services_stops[@]}"}; do kill -s "${stop#* }" "${stop% *}" 2>/dev/null || true; done
  for stop in ${services_stops[@]+"${services_stops[@]}"}; do wait "${stop% *}" 2>/dev/null || true; done
  services_stops=()
  [[ -z $services_dir ]] || rm -rf "$services_dir"
  services_dir=
}

# services_run runs a command in a process group of its own, so that a signal to this shell is heard at once and takes
# the command and its children along. The command must not read from a terminal.
services_run() {
  local status=0
  set -m
  "$@" &
  services_group=$!
  set +m
  wait "$services_group" || status=$?
  services_group=
  return "$status"
}

# services_directory makes the run's directory. PostgreSQL refuses to run as root, so root's servers run as another user
# who must be able to reach it. The path stays short: a Unix socket's may have 107 bytes.
services_directory() {
  local base=${TMPDIR:-/tmp}
  [[ $(id -u) != 0 ]] || base=/tmp
  services_dir=$(mktemp -d "$base/posthorn.XXXXXX") || return
  services_as=()
  if [[ $(id -u) == 0 ]]; then
    local user=nobody
    if id -u postgres >/dev/null 2>&1; then user=postgres; fi
    chown "$user" "$services_dir"
    services_as=(--reuid "$(id -u "$user")" --regid "$(id -g "$user")" --clear-groups)
  fi
}

# services_as_user SIGNAL COMMAND... becomes the command, as the servers' user; the signal comes when this shell dies.
services_as_user() {
  local signal=$1
  shift
  cd "$services_dir" || exit
  if command -v setpriv >/dev/null; then exec setpriv --pdeathsig "$signal" ${services_as[@]+"${services_as[@]}"} "$@"; fi
  exec "$@"
}

# services_launch NAME SIGNAL PROBE COMMAND... runs the command on free ports until one holds: the words PORT in the probe
# and the command stand for the port, services_port keeps it; the signal stops it. The probe asks the server's own
# socket, so another process on the same port is never taken for it.
services_launch() {
  local name=$1 signal=$2 probe=$3 pid try wait_left
  shift 3
  for try in {1..20}; do
    services_port=$((20000 + RANDOM % 12000)) # below the ports that the system hands out by itself
    (services_as_user "$signal" "${@//PORT/$services_port}") </dev/null >"$services_dir/$name.log" 2>&1 &
    pid=$!
    for ((wait_left = 600; wait_left > 0; wait_left--)); do
      kill -0 "$pid" 2>/dev/null || break
      if eval "${probe//PORT/$services_port}" >/dev/null 2>&1; then
        services_stops+=("$pid $signal")
        return 0
      fi
      sleep 0.05
    done
    kill -KILL "$pid" 2>/dev/null || true
    wait "$pid" 2>/dev/null || true
    grep -qi 'address already in use' "$services_dir/$name.log" || break
  done
  echo "$name did not start (try $try):" >&2
  tail -n 20 "$services_dir/$name.log" >&2
  return 1
}

# services_start_postgres uses the collation of an ordinary installation where this PostgreSQL can (ICU en-US): text that must
# sort by its bytes has to say so, here as in production.
services_start_postgres() {
  local bin data=$services_dir/postgres collation=()
  bin=$(postgres_bindir) || return
  if [[ $("$bin/initdb" --help) == *--icu-locale* ]]; then collation=(--locale-provider=icu --icu-locale=en-US); fi
  (services_as_user TERM env LC_ALL=C "$bin/initdb" -D "$data" -U postgres --auth=trust --encoding=UTF8 --locale=C \
    ${collation[@]+"${collation[@]}"} --no-sync) </dev/null >"$services_dir/initdb.log" 2>&1 ||
    { tail -n 20 "$services_dir/initdb.log" >&2; return 1; }
  # shellcheck disable=SC2086 # POSTGRES_OPTIONS is a list of words
  services_launch postgres QUIT "$bin/pg_isready -q -h $services_dir -p PORT" "$bin/postgres" -D "$data" -p PORT \
    -c listen_addresses=127.0.0.1 -c unix_socket_directories="$services_dir" -c max_connections=300 \
    ${POSTGRES_OPTIONS:-} || return
  # shellcheck disable=SC2034 # for scripts/bench.sh
  services_postgres_pid=${services_stops[${#services_stops[@]}-1]% *}
  export TEST_DATABASE_URL="postgres://postgres@127.0.0.1:$services_port/postgres?sslmode=disable"
}

services_start_redis() {
  local server cli
  server=$(redis_server) || return
  cli=${server%-server}-cli
  services_launch redis TERM "[[ \$($cli -s $services_dir/redis.sock ping) == PONG ]]" "$server" --port PORT --bind 127.0.0.1 \
    --unixsocket "$services_dir/redis.sock" --dir "$services_dir" --save '' --appendonly no --daemonize no || return
  export TEST_REDIS_URL="redis://127.0.0.1:$services_port/0"
}
