#!/usr/bin/env bash
# Checks that generated files, module files and formatting are up to date, in
# the modules given as arguments. Every check runs; the exit code tells whether
# all passed.
set -uo pipefail
cd "$(dirname "$0")/.."
. test/steps.sh

unformatted() { git ls-files -z --cached --others --exclude-standard '*.go' | xargs -0 gofmt -l; }

step 'gofmt' nothing unformatted
step 'go fix' nothing go fix -diff ./...
for module in "$@"; do
	step "go mod tidy, $module" env -C "$module" go mod tidy -diff
done
step 'third-party licenses' go run ./internal/tools/licenses -check THIRD_PARTY_LICENSES
step 'generated manifests, tables and golden files' make -s verify-generated
exit $failed
