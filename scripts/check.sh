#!/usr/bin/env bash
# Checks what can be checked without running the product: format, vet, lint, the dashboard's format and types, and that
# generated files are what their sources generate.
set -euo pipefail
cd "$(dirname "$0")/.."

# shellcheck source=scripts/stages.sh
source scripts/stages.sh

formatted() {
  local out
  out=$(find . -name '*.go' -not -path './web/node_modules/*' -print0 | xargs -0 go tool -modfile=tools/go.mod gofumpt -l) || return
  [[ -z $out ]] || { echo "gofumpt would change:"; echo "$out"; return 1; }
}

# generated_sums names the content of every generated file, which .gitattributes lists.
generated_sums() {
  git ls-files -z ':(attr:linguist-generated)' | xargs -0 --no-run-if-empty sha256sum
}

generated() {
  local before after
  before=$(generated_sums)
  make --no-print-directory generate || return
  after=$(generated_sums)
  [[ $before == "$after" ]] || { echo "generated files were out of date; commit these:"; diff <(echo "$before") <(echo "$after"); return 1; }
}

stage 'gofumpt' formatted
stage 'go vet' go vet ./...
stage 'staticcheck' go tool -modfile=tools/go.mod staticcheck ./...
if command -v npm >/dev/null; then
  stage 'dashboard modules' make --no-print-directory web/node_modules/.package-lock.json
  stage 'biome and tsc' npm --prefix web run check
else
  stage 'dashboard: npm is not installed' test -z "${CI:-}"
fi
stage 'generated files' generated
stages_end
