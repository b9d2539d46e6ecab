#!/usr/bin/env bash
# Static checks of the modules given as arguments. They need no network, once
# the modules are downloaded, and start no server. Every check runs; the exit
# code tells whether all passed.
set -uo pipefail
cd "$(dirname "$0")/.."
. test/steps.sh

actionlint() {
	local tool=(go tool -modfile=internal/tools/lint/go.mod actionlint)
	"${tool[@]}" && "${tool[@]}" deploy/mirror/ci/github.yaml # ours, and the one for users
}
scripts() { git ls-files -z '*.sh' .ci/run | xargs -0 -n1 bash -n; }

for module in "$@"; do
	step "go vet, $module" env -C "$module" go vet ./...
done
step 'go vet, tagged tests' go vet -tags e2e,isolated,story,aws,compat,monitoring,release,report,replay ./test/...
step 'go vet, tests with Helm' go vet -tags e2e,compat,helm ./test/e2e/... ./test/compat
step 'staticcheck' go tool staticcheck -tags e2e,isolated,story,aws,compat,monitoring,release,report,replay ./...
step 'import rules' go test -count=1 ./test/integration/architecture
step 'workflows' actionlint
step 'release configuration' go test -C internal/tools/goreleaser -count=1 ./...
step 'shell scripts' scripts
exit $failed
