# shellcheck shell=bash
# Sourced by the other scripts. Owns what must be installed on the machine before tests can run: the servers and
# the browser. Debian's packages are installed when that is allowed; otherwise it says what is missing.

# postgres_bindir prints the folder with initdb and postgres. PG_BINDIR names one; else the newest of the usual places.
postgres_bindir() {
  if [[ -n ${PG_BINDIR:-} ]]; then
    [[ -x $PG_BINDIR/initdb ]] && echo "$PG_BINDIR"
    return
  fi
  local dir
  while read -r dir; do
    if [[ -x $dir/initdb && -x $dir/postgres ]]; then echo "$dir"; return; fi
  done < <(printf '%s\n' /usr/lib/postgresql/*/bin | sort -rV; printf '%s\n' /usr/pgsql-*/bin | sort -rV; pg_config --bindir 2>/dev/null)
  dir=$(command -v initdb) && dirname "$dir"
}

redis_server() { command -v redis-server || command -v valkey-server; }

# pgbouncer_bin prints the pooler for the cluster's tests; Debian puts it where only root's PATH leads.
pgbouncer_bin() { command -v pgbouncer || PATH=/usr/local/sbin:/usr/sbin command -v pgbouncer; }

# chromium_bin prints the browser for the end-to-end tests. CHROMIUM_BIN names one.
chromium_bin() {
  if [[ -n ${CHROMIUM_BIN:-} ]]; then echo "$CHROMIUM_BIN"; return; fi
  command -v chromium || command -v chromium-browser || command -v google-chrome
}

# missing_packages ROLE... prints the Debian packages of the roles (postgres, redis, pgbouncer, chromium, promtool, and the
# tools of the documents' examples: curl, jq, sqlite3, python3) that are not there.
missing_packages() {
  local role
  for role in "$@"; do
    case $role in
      postgres) postgres_bindir >/dev/null || echo postgresql ;;
      redis) redis_server >/dev/null || echo redis-server ;;
      pgbouncer) pgbouncer_bin >/dev/null || echo pgbouncer ;;
      chromium) chromium_bin >/dev/null || echo chromium ;;
      promtool) command -v promtool >/dev/null || echo prometheus ;;
      curl|jq|sqlite3|python3) command -v "$role" >/dev/null || echo "$role" ;;
      *) echo "missing_packages: unknown role $role" >&2; return 2 ;;
    esac
  done
}

# require_packages ROLE... returns when everything is installed, installing it first where it may. It is silent when
# nothing is missing.
require_packages() {
  local missing
  missing=$(missing_packages "$@") || return
  [[ -n $missing ]] || return 0
  local sudo=()
  if [[ $(id -u) != 0 ]]; then sudo=(sudo -n); fi
  if ! command -v apt-get >/dev/null || ! "${sudo[@]}" true 2>/dev/null; then
    echo "missing: ${missing//$'\n'/ }" >&2
    echo "Install them (on Debian: sudo apt-get install ${missing//$'\n'/ }) and run this again." >&2
    return 1
  fi
  # Two runs on a fresh machine must not fight over apt: the second waits, and then finds nothing missing.
  (
    flock 9
    missing=$(missing_packages "$@")
    [[ -n $missing ]] || exit 0
    echo "installing: ${missing//$'\n'/ }" >&2
    # shellcheck disable=SC2086 # one word for each package
    "${sudo[@]}" bash -c "$(declare -f apt_install); apt_install \"\$@\"" apt_install $missing >&2
  ) 9>"${TMPDIR:-/tmp}/posthorn-apt.$(id -u).lock" || return
  missing=$(missing_packages "$@")
  [[ -z $missing ]] || { echo "still missing after the installation: ${missing//$'\n'/ }" >&2; return 1; }
}

# apt_install PACKAGE... runs as root. The packages would start a PostgreSQL cluster and a Redis on their fixed ports;
# the policy file and the cluster setting, in place only while apt runs, keep them from it.
apt_install() {
  set -eu
  local policy=/usr/sbin/policy-rc.d
  local cluster=/etc/postgresql-common/createcluster.d/posthorn-tests.conf
  local log made
  log=$(mktemp)
  made=("$log" "$cluster")
  if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
    made+=("$policy")
  fi
  mkdir -p "${cluster%/*}"
  echo 'create_main_cluster = false' >"$cluster"
  # shellcheck disable=SC2064 # the list is complete here, and local
  trap "rm -f ${made[*]}" EXIT
  export DEBIAN_FRONTEND=noninteractive
  local apt=(apt-get -q -y -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3)
  if ! { "${apt[@]}" update && "${apt[@]}" install --no-install-recommends "$@"; } </dev/null >"$log" 2>&1; then
    tail -n 40 "$log"
    return 1
  fi
}
