#!/usr/bin/env bash
# Lint of all modules given as arguments. Every check runs; the exit code tells
# whether all passed.
set -uo pipefail
cd "$(dirname "$0")/.."
failed=0
step() { # name, command...
	local name=$1 out
	shift
	if out=$("$@" 2>&1); then
		printf 'ok    %s\n' "$name"
	else
		printf 'FAIL  %s\n%s\n' "$name" "$out"
		failed=1
	fi
}
nothing() { # passes when the command prints nothing
	local out
	out=$("$@" 2>&1) && [ -z "$out" ] || { printf '%s\n' "$out"; return 1; }
}
unformatted() { git ls-files -z --cached --others --exclude-standard '*.go' | xargs -0 gofmt -l; }
vulnerable() {
	local out
	out=$(go run golang.org/x/vuln/cmd/govulncheck@v1.9.0 ./... 2>&1) && return
	# Without a route to the vulnerability database there is no answer, and that
	# is said; an answer that names vulnerabilities fails.
	if grep -qE 'fetching vulnerabilities|no such host|dial tcp|connection refused' <<<"$out"; then
		printf 'skip  govulncheck: the vulnerability database cannot be reached\n' >&3
		return 0
	fi
	printf '%s\n' "$out"
	return 1
}
exec 3>&1

step 'gofmt' nothing unformatted
for module in "$@"; do
	step "go vet, $module" env -C "$module" go vet ./...
	step "go mod tidy, $module" env -C "$module" go mod tidy -diff
done
step 'go vet, e2e' go vet -tags e2e ./test/...
step 'go vet, isolated' go vet -tags isolated ./test/isolated/...
step 'go vet, others' go vet -tags aws,compat ./test/aws/... ./test/compat
step 'staticcheck' go tool staticcheck -tags e2e,isolated,aws,compat ./...
step 'import directions' go test -count=1 ./test/integration/architecture
step 'go fix' nothing go fix -diff ./...
step 'govulncheck' vulnerable
step 'shell scripts' bash -n test/lint.sh test/fuzz.sh .ci/run
step 'manifests, by the real API server' go test -count=1 -tags e2e -run 'TestManifests' ./test/e2e/...
exit $failed
