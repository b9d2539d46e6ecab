# Functions for the scripts next to this file, which source it.

failed=0

# step NAME COMMAND... runs a check and prints its output if it fails.
step() {
	local name=$1 out begin=$SECONDS
	shift
	if out=$("$@" 2>&1); then
		printf 'ok    %s (%d s)\n' "$name" $((SECONDS - begin))
	else
		printf 'FAIL  %s\n%s\n' "$name" "$out"
		failed=1
	fi
}

# nothing COMMAND... passes when the command prints nothing.
nothing() {
	local out
	out=$("$@" 2>&1) && [ -z "$out" ] || { printf '%s\n' "$out"; return 1; }
}
