#!/usr/bin/env bash
# Runs every native fuzz target of the module for a while each: scripts/fuzz.sh 30s
set -euo pipefail
cd "$(dirname "$0")/.."

# shellcheck source=scripts/stages.sh
source scripts/stages.sh

while IFS=: read -r file name; do
  stage "$name in ${file%/*}" go test -run '^$' -fuzz "^$name\$" -fuzztime "${1:-30s}" "./${file%/*}"
done < <(git ls-files --cached --others --exclude-standard '*_test.go' | xargs grep -oE '^func Fuzz[A-Za-z0-9_]+' | sed 's/:func /:/')
stages_end
