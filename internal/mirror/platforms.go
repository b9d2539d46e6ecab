// SPDX-License-Identifier: Apache-2.0

package mirror

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// attestationSubject is the annotation with which BuildKit names the image of an
// attestation.
const attestationSubject = "vnd.docker.reference.digest"

// filterPlatforms reduces an index to some platforms and their attestations. It
// returns the index and its manifests.
func filterPlatforms(index *node, manifests []ocispec.Descriptor, platforms []string) (*node, []ocispec.Descriptor, error) {
	wanted := map[digest.Digest]bool{}
	var offered []string
	for _, d := range manifests {
		if p := platformOf(d); p != "" {
			offered = append(offered, p)
			wanted[d.Digest] = slices.ContainsFunc(platforms, func(want string) bool { return p == want || strings.HasPrefix(p, want+"/") })
		}
	}
	isWanted := func(d ocispec.Descriptor) bool {
		if image, ok := d.Annotations[attestationSubject]; ok {
			return wanted[digest.Digest(image)]
		}
		return wanted[d.Digest]
	}
	var kept []ocispec.Descriptor
	for _, d := range manifests {
		if isWanted(d) {
			kept = append(kept, d)
		}
	}
	switch {
	case len(kept) == len(manifests):
		return index, manifests, nil
	case len(kept) == 0:
		return nil, nil, fmt.Errorf("the image has none of the platforms %s, only %s", strings.Join(platforms, ", "), strings.Join(offered, ", "))
	}
	raw, err := filterManifests(index.raw, func(i int) bool { return isWanted(manifests[i]) })
	if err != nil {
		return nil, nil, err
	}
	d := index.desc
	d.Digest, d.Size = digest.FromBytes(raw), int64(len(raw))
	return &node{desc: d, raw: raw}, kept, nil
}

// filterManifests removes entries of an index and keeps all other fields unchanged.
func filterManifests(raw []byte, isWanted func(int) bool) ([]byte, error) {
	var index map[string]json.RawMessage
	var manifests, kept []json.RawMessage
	if err := errors.Join(json.Unmarshal(raw, &index), json.Unmarshal(index["manifests"], &manifests)); err != nil {
		return nil, err
	}
	for i, m := range manifests {
		if isWanted(i) {
			kept = append(kept, m)
		}
	}
	var err error
	if index["manifests"], err = json.Marshal(kept); err != nil {
		return nil, err
	}
	return json.Marshal(index)
}

// platformOf returns a platform such as linux/arm64/v8; "" if the descriptor has
// none, as those of attestations.
func platformOf(d ocispec.Descriptor) string {
	if d.Platform == nil || d.Platform.OS == "unknown" {
		return ""
	}
	return strings.TrimSuffix(d.Platform.OS+"/"+d.Platform.Architecture+"/"+d.Platform.Variant, "/")
}
