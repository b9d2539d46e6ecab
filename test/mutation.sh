#!/usr/bin/env bash
# Mutation testing: plants faults in the packages given as arguments, one at a
# time, and runs the tests of the package with each. Fails if the tests of a
# package catch too few. It works on a copy of the last commit.
set -euo pipefail
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work"/{bin,tmp,source}
git archive HEAD | tar -x -C "$work/source"
cd "$work/source"
go build -o "$work/gremlins" -modfile=internal/tools/gremlins/go.mod github.com/go-gremlins/gremlins/cmd/gremlins
go build -o "$work/mutation" ./internal/tools/mutation
ln -s "$PWD/test/mutation/go.sh" "$work/bin/go"

failed=0
for package; do
	go test -cover -run '^$' "./$package/..." >"$work/compiled" # the timeout is a multiple of the time of the first run
	# It is long, for machines under load: a timeout counts as caught.
	PATH="$work/bin:$PATH" TMPDIR="$work/tmp" "$work/gremlins" unleash --workers 1 --timeout-coefficient 10 \
		--invert-logical --invert-loopctrl --exclude-files / --output-statuses lt --output "$work/mutants.json" "./$package"
	"$work/mutation" "$package" test/mutation/equivalent.txt <"$work/mutants.json" || failed=1
	rm "$work/mutants.json"
done
exit $failed
