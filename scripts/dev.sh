#!/usr/bin/env bash
# Runs the API on port 8000 and the dashboard's development server on 5173; when one ends or Ctrl-C is pressed, both end.
set -euo pipefail
cd "$(dirname "$0")/.."

groups=()
stop() {
  local group
  for group in ${groups[@]+"${groups[@]}"}; do kill -TERM -- "-$group" 2>/dev/null || true; done
  wait
}
trap stop EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

set -m # each in a process group of its own, so that the npm wrapper's child ends too
bin/posthorn serve --dev </dev/null &
groups+=($!)
npm --prefix web run dev </dev/null &
groups+=($!)
set +m

while kill -0 "${groups[0]}" 2>/dev/null && kill -0 "${groups[1]}" 2>/dev/null; do sleep 0.5; done
