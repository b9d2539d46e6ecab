#!/usr/bin/env bash
# One run of the mirror in CodeBuild: downloads privatelink, copies what is new, writes the
# charts whose images are copied, and publishes the names of new images. build.tf sets the
# variables.
set -euo pipefail

archive=privatelink_${RELEASE_VERSION#v}_linux_amd64.tar.gz
curl --fail --silent --show-error --location --retry 3 --output "$archive" "$RELEASE_URL/$RELEASE_VERSION/$archive"
echo "$RELEASE_SHA256  $archive" | sha256sum --check --strict
tar -xzf "$archive" privatelink

# Images that were copied are news also if others failed.
read -ra arguments <<<"$ARGUMENTS"
code=0
./privatelink mirror --config privatelink.yaml "${arguments[@]}" --lock "$LOCK" --expect-role "$ROLE" -o json | tee events.jsonl || code=$?

if [ -n "$CHARTS" ]; then
	read -ra sets <<<"$CHART_SETS"
	./privatelink chart-repository --config privatelink.yaml "${sets[@]}" --lock "$LOCK" "$CHARTS" || code=$?
fi

jq -r 'select(.event == "copied") | .target' events.jsonl >copied.txt
count=$(wc -l <copied.txt)
if [ "$count" -gt 0 ]; then
	head -n 1000 copied.txt >message.txt # of at most 256 KiB
	aws sns publish --topic-arn "$TOPIC" --subject "privatelink mirror: $count new images" --message file://message.txt
fi
exit "$code"
