# The version stands in one place: the image tag of the shipped Deployment.
VERSION := $(shell sed -n 's|.*image: .*/privatelink-webhook:||p' deploy/base/deployment.yaml)
LDFLAGS := -s -w -X main.version=$(VERSION)
# Not test/e2e/framework/cluster/kube, test/e2e/framework/helm/* and test/isolated/containerd: to vet them is to vet Kubernetes, Helm and containerd.
MODULES := . test/integration/oracle test/compat/clients test/isolated/certmanager test/bench/peers/kubewebhook internal/tools/dashboard
# Packages whose tests compare files with what they generate.
GENERATED := $(shell grep -rl testutil/golden --include='*_test.go' cmd deploy internal webhook | xargs -n1 dirname | sort -u | sed 's|^|./|')

.DEFAULT_GOAL := help

.PHONY: help
help: ## list the targets
	@sed -n 's/^\([a-z0-9-]*\):.*## /  \1	/p' $(MAKEFILE_LIST) | expand -t 18

##@ Build

.PHONY: build build-release webhook-image image demo clean
BUILD := CGO_ENABLED=0 go build -trimpath -ldflags "$(LDFLAGS)"
# The architectures of the images.
ARCHITECTURES := amd64 arm64
WEBHOOK := $(foreach a,$(ARCHITECTURES),--binary $(a)=bin/linux-$(a)/privatelink-webhook) --port 9443,8080
COMMAND := $(foreach a,$(ARCHITECTURES),--binary $(a)=bin/linux-$(a)/privatelink) --name privatelink --writable

build: ## build both programs, static, into bin/; the command does not carry the webhook's image
	$(BUILD) -o bin/ ./cmd/...

build-release: webhook-image ## build both programs into bin/; the command carries the webhook's image
	$(BUILD) -tags webhookimage -o bin/ ./cmd/...

webhook-image: ## build the webhook's image into internal/webhookimage/layout, for go build -tags webhookimage ./cmd/privatelink
	@for a in $(ARCHITECTURES); do GOOS=linux GOARCH=$$a $(BUILD) -o bin/linux-$$a/ ./cmd/privatelink-webhook || exit; done
	go run ./internal/tools/ociimage --version $(VERSION) --layout internal/webhookimage/layout $(WEBHOOK)

image: webhook-image ## build the OCI images of the server and of the command for both architectures, without Docker, into dist/
	@for a in $(ARCHITECTURES); do GOOS=linux GOARCH=$$a $(BUILD) -tags webhookimage -o bin/linux-$$a/ ./cmd/privatelink || exit; done
	go run ./internal/tools/ociimage --version $(VERSION) --out dist/privatelink-webhook-$(VERSION).tar $(WEBHOOK)
	go run ./internal/tools/ociimage --version $(VERSION) --out dist/privatelink-$(VERSION).tar $(COMMAND)

demo: ## start a local control plane, install the bundle, create the CAST AI workloads, print their images
	@go run ./test/e2e/demo

clean: ## remove what was built, the cached control plane included
	rm -rf bin dist .cache internal/webhookimage/layout

##@ Test (no root, no services)

.PHONY: test race race-concurrent lint verify generate fuzz mutation check
# Many tests wait. With two packages for each core, the cores are busy meanwhile.
PARALLEL = -p $(shell echo $$((2 * $$(getconf _NPROCESSORS_ONLN))))
# Results are not reused: go test does not notice that a file of another module has
# changed, or a program that a test builds.
test: ## run the unit, property and admission tests and the fuzz seeds
	go test -count=1 -timeout 20m $(PARALLEL) ./...
	cd test/integration/oracle && go test -count=1 -timeout 20m ./...
	cd internal/tools/dashboard && go test -count=1 ./...

race: ## run the same tests with the race detector
	go test -race -timeout 40m ./...

# The packages that start goroutines or share memory.
CONCURRENT := ./certs ./cmd/privatelink-webhook ./internal/doctor/... ./internal/mirror/... ./internal/progress ./internal/registry/... ./internal/status ./internal/terminal ./internal/transfer ./webhook
race-concurrent: ## run the tests of the packages that start goroutines with the race detector
	go test -race -timeout 20m $(PARALLEL) $(CONCURRENT)

lint: ## run vet, staticcheck, actionlint and the import rules
	@test/lint.sh $(MODULES)

verify: ## check generated files, module files, licenses and formatting
	@test/verify.sh $(MODULES) internal/tools/lint internal/tools/gremlins

.PHONY: verify-generated
verify-generated:
	go test $(GENERATED)

generate: ## update generated files and golden files
	cd internal/tools/dashboard && go test ./... -update
	go test ./deploy -update # the chart is generated from it
	go test $(GENERATED) -update
	go run ./internal/tools/licenses > THIRD_PARTY_LICENSES.new && mv THIRD_PARTY_LICENSES.new THIRD_PARTY_LICENSES

fuzz: ## run each fuzz target for FUZZTIME (default 30s)
	@test/fuzz.sh $(or $(FUZZTIME),30s)

MUTATE := certs webhook internal/manifest internal/mirror internal/podspec internal/registry internal/rewrite
mutation: ## plant faults in MUTATE, packages of the last commit, and fail if their tests catch fewer than 90 % (hours)
	@test/mutation.sh $(MUTATE)

check: lint test verify ## run what a pull request needs

##@ Test (with services)

.PHONY: e2e e2e-helm isolated story report compat monitoring test-aws test-terraform ci
e2e: ## test the bundle on a real control plane; K8S=1.34, 1.35 or 1.36 selects an older Kubernetes
	K8S=$(K8S) go test -count=1 -timeout 30m -tags e2e ./test/e2e/...

# Not a part of ci: it compiles Helm twice.
e2e-helm: ## test the chart with Helm 3 and Helm 4 on a real control plane, and the charts that are mirrored (compiles Helm)
	K8S=$(K8S) go test -count=1 -v -p 1 -timeout 60m -tags e2e,helm -run '^(TestHelm|TestPages)$$' ./test/e2e ./test/e2e/docs
	go test -count=1 -v -timeout 30m -tags compat,helm -run '^TestChartsWithHelm$$' ./test/compat

isolated: ## test onboarding and faults on nodes without a route out (root on Debian or Ubuntu)
	@$(MAKE) -j2 --output-sync=target isolated-user isolated-webhook

# Two nodes, side by side: what a user does, and what happens to the webhook.
NODE := go test -count=1 -v -timeout 40m -tags isolated
USER_TESTS := ^Test(Doctor|Guide|Mirror|Onboarding|OnboardingWithPolicy)$$
.PHONY: isolated-user isolated-webhook
isolated-user:
	$(NODE) -run '$(USER_TESTS)' ./test/isolated
isolated-webhook:
	$(NODE) -skip '$(USER_TESTS)' ./test/isolated/...

# Not a part of ci: it compiles GoReleaser and Helm. The release is that of the last commit.
story: ## run a release of the last commit end to end, from a download to an empty account (root on Debian or Ubuntu); UPDATE=1 writes its page
	$(NODE),story -run '^TestStory$$' ./test/isolated $(if $(UPDATE),-update)

report: ## open the HTML reports of a healthy customer and of faults in Chromium (root on Debian, or chromium installed); UPDATE_SCREENSHOTS=1 updates the documentation
	go test -count=1 -tags report ./test/report

compat: ## test the mirror with registries of other projects, and next to other clients (root on Debian or Ubuntu, or docker-registry and skopeo installed)
	go test -count=1 -v -tags compat ./test/compat

monitoring: ## test the alerts with promtool, and in a Prometheus that scrapes the webhook while it has faults (Debian or Ubuntu, or promtool and prometheus installed)
	go test -count=1 -v -timeout 10m -parallel 8 -tags monitoring ./test/monitoring/... # they wait most of the time

test-aws: ## test ECR's API and the doctor against an AWS emulator (python3 with venv and pip)
	go test -count=1 -v -timeout 25m -tags aws ./test/aws

test-terraform: ## test the Terraform module against the emulator (terraform; TF_PLUGINS=folder with the provider if its registry is out of reach)
	go test -count=1 -v -timeout 20m -parallel 4 -tags aws ./test/aws/terraform # most of the time is waiting

# Pairs that wait for different things most of the time.
.PHONY: e2e-and-terraform isolated-and-aws
e2e-and-terraform: ## run e2e and test-terraform side by side
	@$(MAKE) -j2 --output-sync=target e2e test-terraform

isolated-and-aws: ## run isolated and test-aws side by side
	@$(MAKE) -j3 --output-sync=target isolated-user isolated-webhook test-aws

CI_PARTS := test build lint verify race-concurrent e2e-and-terraform isolated-and-aws report compat monitoring build-release
ci: $(CI_PARTS) ## run everything

.PHONY: ci-parts version
ci-parts:
	@echo $(CI_PARTS)

version:
	@echo $(VERSION)

##@ Release

# Of the artifacts' version. Times in them are those of the commit.
RELEASE_ENV = VERSION=$(VERSION:v%=%) SOURCE_DATE_EPOCH=$$(git log -1 --format=%ct) SOURCE_DATE=$$(TZ=UTC git log -1 --date=format-local:%Y-%m-%dT%H:%M:%SZ --format=%cd)
GORELEASER := go tool -modfile=internal/tools/goreleaser/go.mod goreleaser

.PHONY: release release-snapshot release-check release-inputs push-images tag-images cosign
release-snapshot: ## build everything that a release has into dist/release, for all platforms, unsigned
	$(RELEASE_ENV) $(GORELEASER) release --snapshot --clean --skip=sign $(RELEASE_FLAGS)

release-check: ## build a release for one platform twice, compare the bytes, check the content, sign and verify (compiles goreleaser and cosign)
	go test -count=1 -v -timeout 90m -tags release ./test/release

release: cosign ## build, sign and upload a draft for the tag of this commit, as the release workflow does
	$(RELEASE_ENV) $(GORELEASER) release --clean --release-notes dist/inputs/notes.md

IMAGES_REQUIRED = @test -n "$(IMAGES)" || { echo "set IMAGES, such as ghcr.io/castai" >&2; exit 2; }
push-images: ## push both images by digest, without a tag: make push-images IMAGES=ghcr.io/castai
	$(IMAGES_REQUIRED)
	@go run ./internal/tools/ociimage --version $(VERSION) --push-untagged $(IMAGES)/privatelink-webhook $(WEBHOOK)
	@go run ./internal/tools/ociimage --version $(VERSION) --push-untagged $(IMAGES)/privatelink $(COMMAND)

tag-images: ## give both images, which were pushed, the tag of the version
	$(IMAGES_REQUIRED)
	@go run ./internal/tools/ociimage --version $(VERSION) --push $(IMAGES)/privatelink-webhook:$(VERSION) $(WEBHOOK)
	@go run ./internal/tools/ociimage --version $(VERSION) --push $(IMAGES)/privatelink:$(VERSION) $(COMMAND)

cosign:
	go build -modfile=internal/tools/cosign/go.mod -o bin/ github.com/sigstore/cosign/v3/cmd/cosign

# The parts that GoReleaser does not make, for its configuration. Programs record the commit.
INPUTS := dist/inputs
release-inputs: export GOFLAGS := -buildvcs=true
release-inputs: image
	@test -z "$(TAG)" || test "$(TAG)" = "$(VERSION)" || { echo "the tag is $(TAG), and deploy/base/deployment.yaml has $(VERSION): set the version there first" >&2; exit 1; }
	rm -rf $(INPUTS) && mkdir -p $(INPUTS)/bin $(INPUTS)/completions $(INPUTS)/files
	$(BUILD) -o $(INPUTS)/bin/ ./cmd/privatelink ./internal/tools/sbom
	for shell in bash zsh fish powershell; do $(INPUTS)/bin/privatelink completion $$shell > $(INPUTS)/completions/privatelink.$$shell || exit; done
	$(INPUTS)/bin/privatelink completion kubectl > $(INPUTS)/completions/kubectl_complete-privatelink
	$(INPUTS)/bin/privatelink man $(INPUTS)/man
	git archive HEAD -- deploy ':(exclude)*.go' ':(exclude)deploy/chart' | tar -x -C $(INPUTS) # what the pages apply, and no file that a tool left there
	go run ./internal/tools/release --version $(VERSION) $(if $(TAG),,--snapshot) CHANGELOG.md > $(INPUTS)/notes.md
	$(INPUTS)/bin/privatelink install --registry registry.invalid > $(INPUTS)/install.yaml
	sed 's|registry\.invalid|REGISTRY|g' $(INPUTS)/install.yaml > $(INPUTS)/files/install.yaml
	$(INPUTS)/bin/privatelink chart --to $(INPUTS)/files/privatelink-webhook-$(VERSION:v%=%).tgz
	cp internal/tools/release/install.sh $(INPUTS)/files/
	cp dist/privatelink-webhook-$(VERSION).tar $(INPUTS)/files/privatelink-webhook_$(VERSION:v%=%)_image.tar
	cp dist/privatelink-$(VERSION).tar $(INPUTS)/files/privatelink_$(VERSION:v%=%)_image.tar
	$(INPUTS)/bin/sbom --version $(VERSION) --out $(INPUTS)/files/privatelink-webhook_$(VERSION:v%=%)_image.spdx.json dist/privatelink-webhook-$(VERSION).tar
	$(INPUTS)/bin/sbom --version $(VERSION) --out $(INPUTS)/files/privatelink_$(VERSION:v%=%)_image.spdx.json --contains dist/privatelink-webhook-$(VERSION).tar dist/privatelink-$(VERSION).tar

##@ Measure

.PHONY: bench bench-mirror upgrade-replay vulnerabilities
bench: build ## compare the server with a bare TLS echo and stock kubewebhook
	cd test/bench && go run . -server $(CURDIR)/bin/privatelink-webhook
	go test -run '^$$' -bench . -benchmem ./webhook ./internal/rewrite
	go test -tags e2e -run '^$$' -bench Admission ./test/e2e

bench-mirror: build ## compare the mirror with crane and regsync on emulated lines (16 images, 590 MB)
	go run ./test/bench/mirror -ours bin/privatelink

upgrade-replay: ## replay a quarter of releases with four schedules of the mirror, and print what upgrades met (about 10 minutes)
	go test -count=1 -v -timeout 60m -tags replay -run TestAQuarterOfReleases ./test/upgrade

vulnerabilities: ## look for known vulnerabilities (needs the Go vulnerability database)
	go tool -modfile=internal/tools/lint/go.mod govulncheck ./...
