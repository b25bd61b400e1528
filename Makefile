# `make help` lists the targets.

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS := -s -w -X main.version=$(VERSION)
GO_BUILD := CGO_ENABLED=0 go build -trimpath -buildvcs=false

NPM := $(shell command -v npm 2>/dev/null)
WEB_MODULES := web/node_modules/.package-lock.json
WEB_SOURCES := $(shell find web -type f -not -path 'web/node_modules/*' -not -path 'web/dist/*' -not -name '*.go')

.DEFAULT_GOAL := help
.PHONY: help run demo dev test check chaos soak bench bench-go fuzz generate build web screenshots release clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: build ## Build and serve on http://localhost:8000, for development: SQLite in data/, http and loopback allowed
	bin/posthorn serve --dev

demo: build ## Build and serve with sample subscribers and events
	bin/posthorn demo

dev: build $(WEB_MODULES) ## API on port 8000 and the dashboard with hot reload on 5173, stopped together
	scripts/dev.sh

test: ## All tests, with a throwaway PostgreSQL and Redis (RACE=1: race detector where it pays; GOTESTFLAGS: for go test)
	scripts/test.sh

check: ## Format, vet, lint and generated files
	scripts/check.sh

bench: build ## Measure a whole node, over SQLite and over a throwaway PostgreSQL and Redis (BENCH: scenarios and flags)
	scripts/bench.sh $(BENCH)

chaos: ## Break real nodes and servers by seed, and let a ledger decide (CHAOS_SCENARIO, CHAOS_ROUNDS, CHAOS_SEED); writes docs/reliability.md
	scripts/chaos.sh

soak: ## Half load with a fault every minute for CHAOS_MINUTES (default 60): what it holds must stay flat
	CHAOS_SCENARIO=soak scripts/chaos.sh

bench-go: ## Go benchmarks, with a throwaway PostgreSQL and Redis (BENCH: regexp, PKG: packages)
	scripts/with-services go test -run '^$$' -bench '$(or $(BENCH),.)' -benchmem $(or $(PKG),./...)

fuzz: ## Every fuzz target for FUZZTIME each (default 30s)
	scripts/fuzz.sh $(or $(FUZZTIME),30s)

generate: ## Write the generated files again: the OpenAPI document and the dashboard's client
	go generate ./...
	@if [ -n "$(NPM)" ]; then $(MAKE) --no-print-directory $(WEB_MODULES) && npm --prefix web run generate; \
	else echo "npm is not installed: the dashboard's client was not generated"; fi

build: $(if $(NPM),web/dist/index.html) ## Build bin/posthorn, with the dashboard where Node is installed
	@$(if $(NPM),,echo "npm is not installed: building without the dashboard")
	$(GO_BUILD) -ldflags '$(LDFLAGS)' -o bin/posthorn ./cmd/posthorn

web: web/dist/index.html ## Build the dashboard into web/dist

web/dist/index.html: $(WEB_MODULES) $(WEB_SOURCES)
	npm --prefix web run build -- --logLevel warn
	@touch $@ web/dist/.keep

$(WEB_MODULES): web/package-lock.json
	npm --prefix web ci --no-audit --no-fund
	@touch $@

screenshots: build ## Take the pictures in docs/images, in Chromium
	npm --prefix web run screenshots

release: web ## Static binaries for every platform, checksums and bills of materials in build/release
	scripts/release.sh '$(VERSION)'

clean: ## Remove what was built
	rm -rf bin build
	find web/dist -mindepth 1 -not -name .keep -delete
