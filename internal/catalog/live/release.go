// SPDX-License-Identifier: Apache-2.0

package live

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/castai/privatelink-webhook/internal/catalog"
)

// How Helm stores a revision of a release, since Helm 3:
// https://github.com/helm/helm/blob/main/pkg/storage/driver/secrets.go
const (
	releaseType   = "helm.sh/release.v1"
	releaseLabels = "owner=helm,status notin (superseded,uninstalled,uninstalling)"
	deployed      = "deployed"
)

// maxRelease bounds an unpacked release. Packed it is at most the 1 MiB of a
// Secret, which could unpack to a thousand times that.
const maxRelease = 32 << 20

// releases picks, of the revisions that Helm stored, those that count.
type releases struct {
	*reader
	revisions map[string][]corev1.Secret // by name of the release
}

// source is that of the revisions in a namespace.
func (r *releases) source(client kubernetes.Interface, namespace string) source {
	return source{
		resource: "secrets", namespace: namespace,
		page:    page(client.CoreV1().Secrets(namespace).List, func(l *corev1.SecretList) []corev1.Secret { return l.Items }, r.keep),
		options: metav1.ListOptions{FieldSelector: "type=" + releaseType, LabelSelector: releaseLabels},
	}
}

func (r *releases) keep(s corev1.Secret) error {
	if s.Type != releaseType {
		return nil
	}
	if r.revisions == nil {
		r.revisions = map[string][]corev1.Secret{}
	}
	name := s.Labels["name"]
	r.revisions[name] = append(r.revisions[name], s)
	return nil
}

// done adds the latest deployed revision of each release. A later one that is
// pending or failed is added as well: on a cluster without a way out it often
// failed because its images are missing, and will be retried.
func (r *releases) done() error {
	for _, name := range r.names() {
		for i, s := range r.newestFirst(name) {
			status := s.Labels["status"]
			if i == 0 || status == deployed {
				if err := r.add(s); err != nil {
					return err
				}
			}
			if status == deployed {
				break
			}
		}
	}
	return nil
}

func (r *releases) names() []string { return slices.Sorted(maps.Keys(r.revisions)) }

func (r *releases) newestFirst(name string) []corev1.Secret {
	revisions := r.revisions[name]
	slices.SortFunc(revisions, func(a, b corev1.Secret) int { return revision(b) - revision(a) })
	return revisions
}

// current returns the revision that is deployed, or else the last one.
func (r *releases) current(name string) corev1.Secret {
	revisions := r.newestFirst(name)
	if i := slices.IndexFunc(revisions, func(s corev1.Secret) bool { return s.Labels["status"] == deployed }); i >= 0 {
		return revisions[i]
	}
	return revisions[0]
}

// revision is the number of a revision; one without a number comes last.
func revision(s corev1.Secret) int {
	n, err := strconv.Atoi(s.Labels["version"])
	if err != nil {
		return -1
	}
	return n
}

func (r *releases) add(s corev1.Secret) error {
	r.seen++
	stored, err := decode(s.Data["release"])
	if err != nil {
		return fmt.Errorf("secret %s/%s is not a release as Helm stores it: %w", s.Namespace, s.Name, err)
	}
	name := fmt.Sprintf("%s/%s revision %s", s.Namespace, s.Labels["name"], s.Labels["version"])
	if status := s.Labels["status"]; status != deployed {
		name += " (" + status + ")"
	}
	for _, text := range append([]string{stored.Manifest}, stored.hooks()...) {
		if _, err := r.into.AddManifest(catalog.Release, name, []byte(text)); err != nil {
			return fmt.Errorf("release %w", err)
		}
	}
	return nil
}

// release is what we read of a stored revision. Its values may be secrets, and serve to
// render the next version of its chart.
type release struct {
	Config map[string]any `json:"config"`
	Chart  struct {
		Metadata struct {
			Name    string `json:"name"`
			Version string `json:"version"`
		} `json:"metadata"`
	} `json:"chart"`
	Manifest string `json:"manifest"`
	Hooks    []struct {
		Manifest string `json:"manifest"`
	} `json:"hooks"`
}

func (r release) hooks() []string {
	texts := make([]string, len(r.Hooks))
	for i, h := range r.Hooks {
		texts[i] = h.Manifest
	}
	return texts
}

// decode reads a revision: JSON, packed with gzip (not so by the first versions
// of Helm), as base64. Its errors quote nothing of the content.
func decode(data []byte) (r release, err error) {
	packed, err := base64.StdEncoding.DecodeString(string(data))
	if err != nil {
		return r, errors.New("it is not base64")
	}
	var text io.Reader = bytes.NewReader(packed)
	if bytes.HasPrefix(packed, []byte{0x1f, 0x8b, 0x08}) {
		if text, err = gzip.NewReader(text); err != nil {
			return r, errors.New("it is not gzip")
		}
	}
	unpacked, err := io.ReadAll(io.LimitReader(text, maxRelease+1))
	switch {
	case err != nil:
		return r, errors.New("it is damaged or cut off")
	case len(unpacked) > maxRelease:
		return r, fmt.Errorf("it unpacks to more than %d MiB", maxRelease>>20)
	}
	if err := json.Unmarshal(unpacked, &r); err != nil {
		return release{}, errors.New("it is not JSON with manifest and hooks")
	}
	return r, nil
}
