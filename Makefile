# The version stands in one place: the image tag of the shipped Deployment.
VERSION := $(shell sed -n 's|.*image: .*/privatelink-webhook:||p' deploy/base/deployment.yaml)
LDFLAGS := -s -w -X main.version=$(VERSION)
# Not test/e2e/framework/cluster/kube: to vet it is to vet all of Kubernetes.
MODULES := . test/integration/oracle test/isolated/certmanager $(patsubst %/go.mod,%,$(wildcard test/bench/go.mod test/bench/*/go.mod))

.DEFAULT_GOAL := help
.PHONY: help build test unit e2e e2e-control-plane node test-aws test-terraform test-registries lint fuzz bench bench-mirror demo image push clean update check

help: ## list the targets
	@sed -n 's/^\([a-z0-9-]*\):.*## /  \1	/p' $(MAKEFILE_LIST) | expand -t 22

build: ## both binaries, static, into bin/
	CGO_ENABLED=0 go build -trimpath -ldflags "$(LDFLAGS)" -o bin/ ./cmd/...

test: unit e2e ## everything that must pass: unit tests, the real control plane, the real node

unit: ## unit, property and admission-plugin tests and fuzz seeds, with the race detector
	go test -race ./...
	go test ./test/integration/admission # all generated pods: under the race detector it takes a twentieth of them
	cd test/integration/oracle && go test ./...

e2e: e2e-control-plane node ## both of the next two

e2e-control-plane: ## the shipped bundle on a real control plane; K8S=1.34, 1.35 or 1.36 for an older one (a first build takes minutes)
	K8S=$(K8S) go test -count=1 -timeout 30m -tags e2e ./test/e2e/...

node: ## a customer's story and faults on a real node without a route out (root on Debian or Ubuntu); a table at the end
	go test -count=1 -v -timeout 40m -tags isolated ./test/isolated/...

test-aws: ## ECR's control plane, and the doctor with 30 faults of a network, against moto, an emulator of AWS (python3 with venv and pip)
	go test -count=1 -v -tags aws ./test/aws

test-terraform: ## the Terraform module, applied to the same emulator, and then the doctor (terraform; TF_PLUGINS=folder with the provider, where its registry is out of reach)
	go test -count=1 -v -tags aws ./test/aws/terraform

test-registries: ## the mirror between registries of others: the distribution project's and Debian's (root, or docker-registry installed)
	go test -count=1 -tags compat ./test/compat

lint: ## vet, staticcheck, formatting, module files, import directions, manifests, known vulnerabilities
	@test/lint.sh $(MODULES)

fuzz: ## each fuzz target for FUZZTIME (default 30s)
	@test/fuzz.sh $(or $(FUZZTIME),30s)

bench: build ## the server beside a bare TLS echo and stock kubewebhook, with ratios
	cd test/bench && go run . -server $(CURDIR)/bin/privatelink-webhook
	go test -run '^$$' -bench . -benchmem ./webhook ./internal/rewrite
	go test -tags e2e -run '^$$' -bench Admission ./test/e2e

bench-mirror: ## the mirror beside crane and regsync, on emulated lines, with ratios (16 images, 590 MB; minutes)
	CGO_ENABLED=0 go build -trimpath -ldflags "$(LDFLAGS)" -o bin/ ./cmd/privatelink
	go run ./test/bench/mirror -ours bin/privatelink

demo: ## a real control plane, the bundle, the onboarding workloads, and a table of what became of them
	@go run ./test/e2e/demo

image: ## the server's OCI image for both architectures, without Docker, into dist/
	@for a in amd64 arm64; do echo "linux/$$a"; CGO_ENABLED=0 GOOS=linux GOARCH=$$a go build -trimpath -ldflags "$(LDFLAGS)" -o dist/$$a/privatelink-webhook ./cmd/privatelink-webhook || exit; done
	go run ./internal/tools/ociimage --version $(VERSION) --binary amd64=dist/amd64/privatelink-webhook --binary arm64=dist/arm64/privatelink-webhook --out dist/privatelink-webhook-$(VERSION).tar $(if $(REGISTRY),--push $(REGISTRY)/privatelink-webhook:$(VERSION))

push: ## make image, and push it: make push REGISTRY=<your ECR prefix>
	@test -n "$(REGISTRY)" || { echo "set REGISTRY, such as 123456789012.dkr.ecr.us-east-1.amazonaws.com/castai" >&2; exit 2; }
	$(MAKE) image REGISTRY=$(REGISTRY)

update: ## write generated files and golden files anew
	go test ./deploy ./webhook ./internal/manifest -update

clean: ## remove what was built, the cached control plane too
	rm -rf bin dist .cache

check: build lint test test-aws test-terraform test-registries ## what CI runs
