#!/bin/sh
# Installs the command privatelink for Linux or macOS.
#
#   curl -fsSLO https://github.com/castai/privatelink-webhook/releases/latest/download/install.sh
#   sh install.sh
#
# It downloads the archive for this machine, compares it with the release's list of
# checksums, and installs one file. If anything is missing or differs, it installs
# and replaces nothing. Environment:
#
#   INSTALL_VERSION  release to install, such as v0.2.0 (default: the newest)
#   INSTALL_DIR      folder to install to (default: /usr/local/bin)
#   INSTALL_URL      copy of the releases inside your network: a folder with a
#                    folder for each release, such as v0.2.0
#
# To verify the signature of the list as well, follow docs/guide/verify.md instead.
set -eu

project=https://github.com/castai/privatelink-webhook

fail() {
	echo "install.sh: $*" >&2
	exit 1
}

# download URL FILE fails if the server refuses, if the connection is cut, and if
# nothing arrives for a minute.
download() {
	curl --fail --silent --show-error --location --proto "$protocols" --max-redirs 5 \
		--connect-timeout 20 --speed-limit 1 --speed-time 60 --retry 2 --output "$2" "$1" ||
		fail "could not download $1: see the error of curl above"
	[ -s "$2" ] || fail "$1 is empty"
}

# checksum FILE prints its SHA-256.
checksum() {
	if command -v sha256sum >/dev/null; then
		sum=$(sha256sum "$1") || fail "sha256sum failed"
	elif command -v shasum >/dev/null; then
		sum=$(shasum -a 256 "$1") || fail "shasum failed"
	else
		fail "cannot verify the download: install sha256sum or shasum"
	fi
	echo "${sum%% *}"
}

# platform prints the name of this machine's archives.
platform() {
	os=$(uname -s) || fail "uname failed"
	machine=$(uname -m) || fail "uname failed"
	case $os in
	Linux) os=linux ;;
	Darwin) os=darwin ;;
	*) fail "there is no archive for $os: see $project/releases" ;;
	esac
	case $machine in
	x86_64 | amd64) machine=amd64 ;;
	aarch64 | arm64) machine=arm64 ;;
	*) fail "there is no archive for $os on $machine: see $project/releases" ;;
	esac
	echo "${os}_$machine"
}

# entry LIST SUFFIX prints the one line of the list whose file ends in the suffix.
entry() {
	found=
	while read -r sum name; do
		case $name in
		privatelink_*"$2")
			[ -z "$found" ] || fail "the list of checksums has two archives for this machine: $found and $name"
			found="$sum $name"
			;;
		esac
	done <"$1"
	[ -n "$found" ] || fail "the list of checksums has no archive privatelink_*$2"
	case ${found%% *} in
	*[!0-9a-f]* | "") fail "the list of checksums has no SHA-256 for ${found#* }" ;;
	esac
	echo "$found"
}

main() {
	command -v curl >/dev/null || fail "install curl first"
	version=${INSTALL_VERSION:-latest}
	to=${INSTALL_DIR:-/usr/local/bin}
	case $version in
	latest | v[0-9]*) ;;
	*) fail "INSTALL_VERSION $version: give a release such as v0.2.0" ;;
	esac
	if [ -n "${INSTALL_URL:-}" ]; then
		url=${INSTALL_URL%/}/$version
	elif [ "$version" = latest ]; then
		url=$project/releases/latest/download
	else
		url=$project/releases/download/$version
	fi
	case $url in
	https://*) protocols='=https' ;;
	http://*) protocols='=http,https' ;;
	*) fail "INSTALL_URL $INSTALL_URL: give an https:// or http:// address" ;;
	esac
	[ -d "$to" ] && [ -w "$to" ] || fail "cannot write to $to: set INSTALL_DIR to a folder in your PATH, or run as a user who can write there"

	suffix=_$(platform).tar.gz
	work=$(mktemp -d)
	new=$to/.privatelink.new.$$
	trap 'rm -rf "$work" "$new"' EXIT
	trap 'exit 1' HUP INT TERM # runs the trap above

	download "$url/checksums.txt" "$work/checksums.txt"
	line=$(entry "$work/checksums.txt" "$suffix")
	want=${line%% *} archive=${line#* }
	download "$url/$archive" "$work/archive"
	got=$(checksum "$work/archive")
	[ "$got" = "$want" ] || fail "$archive has the checksum $got, and the release lists $want: do not use it"

	tar -xzf "$work/archive" -C "$work" privatelink || fail "cannot extract privatelink from $archive"
	cp "$work/privatelink" "$new"
	chmod 0755 "$new"
	# From its folder: the temporary one may be mounted with noexec.
	"$new" version >"$work/version" || fail "the program does not run on this machine"
	mv -f "$new" "$to/privatelink"
	echo "installed $(cat "$work/version") in $to/privatelink"
	echo "verified: SHA-256 of $archive. To verify its signature too, see $project/blob/main/docs/guide/verify.md"
}

main
