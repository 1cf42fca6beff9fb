# Needs Go, make and a C compiler (for the race detector); everything else comes from the Go module proxy.

GO      ?= go
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
COMMIT  ?= $(shell git rev-parse -q --verify HEAD 2>/dev/null || echo unknown)
IMAGE   ?= ghcr.io/bellhop-dev/bellhop:$(VERSION)

# The tools have a module of their own, so that the program's go.mod names only what the program needs.
TOOLS := bin/tools
TOOLS_MODULE := hack/tools/go.mod hack/tools/go.sum
# Every Go module of the repository.
MODULES := . hack/tools hack/chart hack/promtool test/senders

# Packages to test and flags for `go test`: make test PKG=./pkg/queue/... TESTFLAGS='-run Crash -v'
PKG ?= ./...
TESTFLAGS ?=
# Time for each fuzz target.
FUZZTIME ?= 10s
# Flags of the programs: make bench BENCHFLAGS='-only accept', make crash CRASHFLAGS='-rounds 200', make fault
# FAULTFLAGS='-only kill -for 30s'
BENCHFLAGS ?=
CRASHFLAGS ?= -rounds 50
FAULTFLAGS ?=

.DELETE_ON_ERROR:
.PHONY: help run build test lint verify bench crash fault fuzz check-chart check-senders e2e image clean

help: ## Show this list.
	@awk 'BEGIN { FS = ":.*## " } /^[a-z0-9-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: build ## Serve a demo on this machine, and print a line that sends it a signed webhook.
	@$(GO) build -o bin/demo ./hack/demo
	@exec bin/demo -bellhop bin/bellhop

build: ## Build bin/bellhop, a static binary.
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-s -w -X main.version=$(VERSION) -X main.commit=$(COMMIT)' -o bin/bellhop ./cmd/bellhop

test: $(TOOLS)/gotestsum ## Run all tests with the race detector.
	$(TOOLS)/gotestsum --format pkgname-and-test-fails --format-hide-empty-pkg -- -race $(TESTFLAGS) $(PKG)

lint: $(TOOLS)/golangci-lint ## Run the linters; .golangci.yml says which and why.
	$(TOOLS)/golangci-lint run ./...
	cd hack/chart && $(CURDIR)/$(TOOLS)/golangci-lint run ./...
	cd hack/promtool && $(CURDIR)/$(TOOLS)/golangci-lint run ./...
	cd test/senders && $(CURDIR)/$(TOOLS)/golangci-lint run ./...

verify: ## Check that everything generated or formatted is up to date.
	hack/verify $(MODULES)

bench: build ## Measure speed and memory against reference servers in the same run; takes minutes.
	$(GO) run ./test/bench -bellhop bin/bellhop $(BENCHFLAGS)

crash: build ## Kill the server under load, again and again, and count what was lost.
	$(GO) run ./test/crash -bellhop bin/bellhop $(CRASHFLAGS)

fault: build ## Have replicas, NATS servers, disks and networks fail under load, and count; takes half an hour.
	$(GO) run ./test/fault -bellhop bin/bellhop $(FAULTFLAGS)

fuzz: ## Run each fuzz target for FUZZTIME.
	hack/fuzz $(FUZZTIME) $(PKG)

# -count=1: the go command knows nothing of the chart and the program, and would take an old result for theirs.
check-chart: build $(TOOLS)/gotestsum ## Lint and render the chart, and have bellhop check what it renders.
	cd hack/chart && BELLHOP=$(CURDIR)/bin/bellhop $(CURDIR)/$(TOOLS)/gotestsum --format pkgname-and-test-fails -- -count=1 ./...
	cd hack/promtool && $(CURDIR)/$(TOOLS)/gotestsum --format pkgname-and-test-fails -- -count=1 ./...

# -count=1: as above. The first run builds Alertmanager, which takes a minute.
check-senders: build $(TOOLS)/gotestsum ## Have a real Alertmanager and Flux's own recorder post to bellhop.
	cd test/senders && BELLHOP=$(CURDIR)/bin/bellhop $(CURDIR)/$(TOOLS)/gotestsum --format pkgname-and-test-fails -- -count=1 ./...

e2e: $(TOOLS)/gotestsum ## Install the chart on a real cluster and use it; makes one with kind if none is given, see hack/e2e.
	PATH=$(CURDIR)/$(TOOLS):$$PATH hack/e2e $(TESTFLAGS)

image: ## Build the container image.
	docker build --build-arg VERSION=$(VERSION) --build-arg COMMIT=$(COMMIT) -t $(IMAGE) .

clean: ## Remove what the other targets made.
	rm -rf bin .demo

$(TOOLS)/gotestsum: $(TOOLS_MODULE)
	$(GO) build -C hack/tools -o $(CURDIR)/$@ gotest.tools/gotestsum

$(TOOLS)/golangci-lint: $(TOOLS_MODULE)
	$(GO) build -C hack/tools -o $(CURDIR)/$@ github.com/golangci/golangci-lint/v2/cmd/golangci-lint
