#!/usr/bin/env bash
# Builds the release: static binaries that come out the same, byte for byte, wherever the same commit is built with the same
# Go and Node, with checksums and bills of materials (CycloneDX). The dashboard must be in web/dist already. PLATFORMS builds
# for some only: PLATFORMS='linux/amd64 linux/arm64'.
set -euo pipefail
cd "$(dirname "$0")/.."

version=${1:?usage: scripts/release.sh VERSION}
out=build/release
[[ -f web/dist/index.html ]] || { echo 'web/dist is empty: run make web first' >&2; exit 1; }
rm -rf "$out"
mkdir -p "$out"

# The bill is read out of each binary, so it names what was linked, not what go.mod allows.
bill() {
  go tool -modfile=tools/release/go.mod cyclonedx-gomod bin -json -std -noserial -notimestamp \
    -version "$version" -output "$2" "$1"
}

for platform in ${PLATFORMS:-linux/amd64 linux/arm64 darwin/amd64 darwin/arm64 windows/amd64 windows/arm64}; do
  name=posthorn_${version#v}_${platform/\//_}
  binary=$out/$name
  if [[ $platform == windows/* ]]; then binary+=.exe; fi
  echo "building $platform"
  CGO_ENABLED=0 GOOS=${platform%/*} GOARCH=${platform#*/} GOAMD64=v1 GOARM64=v8.0 GOFLAGS=-mod=readonly \
    go build -trimpath -buildvcs=false -ldflags "-s -w -X main.version=$version" -o "$binary" ./cmd/posthorn
  bill "$binary" "$out/$name.cdx.json"
done

# The dashboard's bill lists the packages whose code is in web/dist; npm adds a random number and the time, which go.
npm --prefix web sbom --package-lock-only --omit dev --sbom-format cyclonedx |
  node -e 'const b = JSON.parse(require("fs").readFileSync(0)); delete b.serialNumber; delete b.metadata.timestamp;
    Object.assign(b.metadata.component, { name: "posthorn-dashboard", version: process.argv[1] });
    console.log(JSON.stringify(b, null, 2))' "$version" >"$out/posthorn_${version#v}_dashboard.cdx.json"

(cd "$out" && sha256sum posthorn_* >SHA256SUMS)
echo "in $out:"
ls "$out"
