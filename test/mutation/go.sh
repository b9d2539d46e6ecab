#!/usr/bin/env bash
# The go command that gremlins finds in PATH: it mends two results of go test.
set -euo pipefail
go=$(PATH=${PATH#*:} command -v go)
packages=${!#}
case "$1 ${3:-}" in
'test -coverprofile')
	# Gremlins plants no fault where the profile has no block, such as in
	# constants and in the conditions of a case. So all lines get one.
	"$go" "$@"
	"$go" list -f '{{range .GoFiles}}{{$.ImportPath}}/{{.}}:1.1,1000000.1 1 1{{"\n"}}{{end}}' "$packages" | sed '/^$/d' >>"$4"
	;;
test\ *)
	# Code that does not compile is not a fault that tests caught. Gremlins
	# takes exit code 2 for that, and go test exits with 1.
	"$go" build "$packages" || exit 2
	exec "$go" "$@"
	;;
*) exec "$go" "$@" ;;
esac
