# Every target says what it does: `make` or `make help` lists them.
GO      ?= go
FUZZ    ?= 10s
BENCH   ?= .
PKGS    := ./...

.DEFAULT_GOAL := help
.PHONY: help run build test race sim lint vuln fuzz integration bench components

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: ## run the server with the embedded default (data in ./data)
	$(GO) run ./cmd/granary serve

build: ## build the static binary ./granary
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags "-s -w" -o granary ./cmd/granary

test: ## pass the tests; those that need a server which is missing are skipped, but fail where CI=true
	$(GO) vet $(PKGS)
	$(GO) test -timeout 30m $(PKGS)

race: ## pass the same tests under the race detector, and the walks with a server built with it
	$(GO) test -race -timeout 30m $$($(GO) list $(PKGS) | grep -v '/integration$$')
	GRANARY_TEST_RACE=1 $(GO) test -count=1 -timeout 30m -run 'Walk|Kill' ./integration

SEEDS ?= 1000
sim: ## pass the simulation of nodes and their collector for SEEDS (1000, or from-to)
	GRANARY_SIM_SEEDS=$(SEEDS) $(GO) test -count=1 -timeout 60m -run '^TestSimulation$$' -v ./gc

lint: ## check style
	$(GO) tool -modfile=tools/go.mod golangci-lint run

vuln: ## look for known vulnerabilities; needs the Go vulnerability database
	$(GO) tool -modfile=tools/go.mod govulncheck ./...

# A run may end with "context deadline exceeded" where nothing was found; what was
# found is kept as a seed and fails the further runs too.
fuzz: ## run every fuzz target for FUZZ (10s)
	@for pkg in $$(grep -rlE '^func Fuzz' --include=*_test.go . | xargs -n1 dirname | sort -u); do \
	  for f in $$(grep -hoE '^func Fuzz[A-Za-z0-9_]*' $$pkg/*_test.go | sed 's/^func //'); do \
	    echo "== $$pkg $$f"; \
	    run="$(GO) test -run ^$$ -fuzz ^$$f$$ -fuzztime $(FUZZ) -fuzzminimizetime 1s ./$$pkg"; \
	    $$run || $$run || $$run || exit 1; \
	  done; done

components: ## install the servers and clients that the integration tests need
	integration/install.sh all

integration: components ## pass the tests with real clients and servers
	$(GO) test -count=1 -timeout 30m ./integration/... ./kv/dynamo/... ./blob/s3/...

bench: ## run the benchmarks (BENCH=regexp) with allocations
	$(GO) test -run '^$$' -bench '$(BENCH)' -benchmem $(PKGS)
