# shellcheck shell=bash
# Sourced by the scripts that run several stages: every stage runs, whatever became of those before it, and the end says
# which failed.

stages_failed=()

# stage NAME COMMAND... announces and runs one; services_run stands before the command where it may be long.
stage() {
  local name=$1
  shift
  printf '\n== %s\n' "$name"
  "$@" || stages_failed+=("$name")
}

# stages_end is the last command of the script: its status is the script's.
stages_end() {
  if [[ ${#stages_failed[@]} -eq 0 ]]; then
    printf '\n== all passed\n'
    return 0
  fi
  printf '\n== failed:\n'
  printf '   %s\n' "${stages_failed[@]}"
  return 1
}
