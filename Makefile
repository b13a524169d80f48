.DEFAULT_GOAL := help
export CGO_ENABLED ?= 0

LINT_VERSION := v2.15.0
BIN := $(CURDIR)/dist

help: ## Show the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## Build dist/downbeat
	go build -trimpath -ldflags '-s -w' -o dist/downbeat ./cmd/downbeat

test: ## Run all tests
	go test ./...

race: ## Run all tests under the race detector (needs a C compiler)
	CGO_ENABLED=1 go test -race ./...

fuzz: ## Fuzz each parser for a short while (FUZZTIME=30s)
	.ci/fuzz $${FUZZTIME:-30s}

crash: ## Kill the engine 2,000 times under load and compare what it did
	DOWNBEAT_CRASHES=2000 go test -count=1 -timeout 60m -run Crash ./internal/engine/...

mutations: ## Break each invariant on purpose; its test must turn red
	.ci/mutations

ctk: ## Run the conformance kit of the specification (DOWNBEAT_SPEC=folder of the specification)
	go test -count=1 -v -run CTK ./conformance/...

bench: build ## Measure the standard set
	dist/downbeat bench

lint: dist/golangci-lint ## Lint
	dist/golangci-lint run

dist/golangci-lint:
	GOBIN=$(BIN) go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(LINT_VERSION)

fmt: dist/golangci-lint ## Format
	dist/golangci-lint fmt

cross: ## Compile for every platform
	.ci/cross

.PHONY: help build test race fuzz crash mutations ctk bench lint fmt cross
