GO ?= go
GOLANGCI_LINT = $(GO) run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
TESTFLAGS ?= -race -shuffle=on -timeout 15m

.PHONY: help build demo cluster test unit schedules planted convict faults faults-long faults-smoke compose-test lint check bench sim soak migration-bench fuzz clean

help: ## show what one can do
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## build kvnode, kvctl and loadtest into bin/
	CGO_ENABLED=0 $(GO) build -o bin/ ./cmd/kvnode ./cmd/kvctl ./loadtest

demo: build ## three nodes, load, a kill -9, and nothing lost (half a minute)
	bin/loadtest demo

cluster: build ## run a three-node cluster in the foreground
	bin/loadtest cluster

test: unit schedules planted compose-test faults-smoke ## all tests that CI runs

unit: ## unit, property, simulation and end-to-end tests, with the race detector
	$(GO) test $(TESTFLAGS) ./...

schedules: ## a thousand random schedules of the replication protocol
	$(GO) test ./kvstore/sim

planted: ## break one rule at a time, and write which check finds it and how soon
	$(GO) test -tags planted ./clusterkit -run Planted
	$(GO) test -tags planted ./kvstore/sim -run Planted -timeout 30m -table PLANTED.md

convict: ## run stores that are known to be wrong, and write what convicts each (five minutes)
	$(GO) test -tags convict ./loadtest/convict -v -timeout 30m -table ../CONVICTED.md

FAULTS ?= all
MAX_UNAVAILABLE ?= 5s
faults: build ## every fault three times under load, with all checks (ten minutes, FAULTS=all)
	mkdir -p docs
	bin/loadtest faults --faults $(FAULTS) --rounds 3 --seed $(SEED) --max-unavailable $(MAX_UNAVAILABLE) --html bin/faults.html --json bin/faults.json --table docs/faults.md

ROUNDS ?= 20
faults-long: build ## the same as often as one likes (FAULTS=all ROUNDS=20 SEED=1)
	bin/loadtest faults --faults $(FAULTS) --rounds $(ROUNDS) --seed $(SEED) --max-unavailable $(MAX_UNAVAILABLE) --html bin/faults.html --json bin/faults.json

faults-smoke: build ## every fault once and for a moment, as far as this machine lets one (two minutes)
	bin/loadtest faults --hold 1s --hold-max 2s --seed $(SEED) --at-most 2m --max-unavailable 1m

compose-test: ## a cluster of containers that loses one, where there is a Docker engine
	docker/compose_test.sh

lint: ## run the linters
	$(GOLANGCI_LINT) run

check: ## format, tidy, vet, lint and test: what must hold before a commit
	@test -z "$$(gofmt -l .)" || { gofmt -l .; echo "run gofmt on these files"; exit 1; }
	$(GO) mod tidy -diff
	$(GO) vet ./... && $(GO) vet -tags convict ./loadtest/convict
	$(MAKE) lint test

bench: ## run the benchmarks
	$(GO) test -run '^$$' -bench . -benchmem ./...

SEEDS ?= 100000
SEED ?= 1
sim: ## run many random schedules of both protocols (SEEDS=100000 SEED=1)
	$(GO) test ./clusterkit -run TestSchedules -v -timeout 0 -seeds $(SEEDS) -seed $(SEED)
	$(GO) test ./kvstore/sim -run TestSchedules -count=1 -v -timeout 0 -seeds $(SEEDS) -seed $(SEED)

KILLS ?= 20
BUSY ?= 10m
soak: ## measure failovers, then keep the machine busy and see none (KILLS=20 BUSY=10m)
	$(GO) test ./loadtest/e2e -run 'TestPrimaryKilled|TestNoFalseFailover' -v -timeout 0 -kills $(KILLS) -busy $(BUSY)

HANDOVERS ?= 50
migration-bench: ## measure hand-overs, copies beside requests, and copies against Badger alone (seven minutes, HANDOVERS=50)
	$(GO) test ./loadtest/e2e -run 'TestHandOvers|TestForegroundDuringCopies' -v -timeout 0 -figures -handovers $(HANDOVERS)
	@for round in 1 2 3; do \
		$(GO) test ./kvstore/storage -run '^$$' -bench 'BadgerAlone' -benchtime 5x && \
		$(GO) test ./kvstore -run '^$$' -bench 'Copy$$' -benchtime 5x || exit 1; \
	done

FUZZTIME ?= 1m
fuzz: ## fuzz every decoder of outside bytes for FUZZTIME each
	@for target in $$(grep -rl '^func Fuzz' --include='*_test.go' .); do \
		for name in $$(sed -n 's/^func \(Fuzz[A-Za-z]*\).*/\1/p' $$target); do \
			$(GO) test -run '^$$' -fuzz "^$$name\$$" -fuzztime $(FUZZTIME) $$(dirname $$target) || exit 1; \
		done; \
	done

clean: ## remove what was built
	rm -rf bin
