// SPDX-License-Identifier: Apache-2.0

package suite

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/castai/privatelink-webhook/internal/doctor"
	"github.com/castai/privatelink-webhook/internal/kubeconfig"
	"github.com/castai/privatelink-webhook/internal/mirror/lock"
)

// serveLocks is an API server with the ConfigMap castai-mirror/lock, and S3 with the object
// castai.yaml of the bucket locks. Both refuse to read what is named secret.
func serveLocks(t *testing.T, text string) *httptest.Server {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		isS3 := strings.HasPrefix(r.Header.Get("Authorization"), "AWS4-HMAC-SHA256 Credential=AKIDLOCKS/")
		answer := func(code int, reason, text string) {
			if !isS3 {
				w.Header().Set("Content-Type", "application/json")
				text = fmt.Sprintf(`{"kind":"Status","apiVersion":"v1","status":"Failure","code":%d,"reason":%q,"message":%q}`, code, reason, text)
			}
			w.WriteHeader(code)
			fmt.Fprint(w, text)
		}
		switch {
		case strings.HasSuffix(r.URL.Path, "/secret"):
			answer(http.StatusForbidden, "Forbidden", "<Error><Code>AccessDenied</Code></Error>")
		case !isS3 && r.URL.Path == "/api/v1/namespaces/castai-mirror/configmaps/lock":
			w.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(w).Encode(corev1.ConfigMap{TypeMeta: metav1.TypeMeta{Kind: "ConfigMap", APIVersion: "v1"}, Data: map[string]string{lock.DefaultFile: text}})
		case isS3 && r.URL.Path == "/locks/castai.yaml":
			fmt.Fprint(w, text)
		default:
			answer(http.StatusNotFound, "NotFound", "<Error><Code>NoSuchKey</Code></Error>")
		}
	}))
	t.Cleanup(server.Close)
	return server
}

// write writes a file for a test, and returns its name.
func write(t *testing.T, name, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// A lock that is named is read where it is kept, with the context and the profile of the
// command. If it cannot be read, the images of the cluster do not stand in for it.
func TestANamedLockIsReadWhereItIsKept(t *testing.T) {
	l := lock.Lock{Registry: privateRegistry, Images: []lock.Entry{{Source: "docker.io/castai/agent:v1", Target: privateRegistry + "/agent:v1", Digest: digest.FromString("manifest")}}}
	text, err := l.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	server := serveLocks(t, string(text))
	none := filepath.Join(t.TempDir(), "none")
	for name, value := range map[string]string{
		"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "AWS_SESSION_TOKEN": "", "AWS_PROFILE": "", "AWS_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true", "AWS_ENDPOINT_URL": "",
		"AWS_SHARED_CREDENTIALS_FILE": none,
		"AWS_CONFIG_FILE":             write(t, "config", "[profile locks]\naws_access_key_id = AKIDLOCKS\naws_secret_access_key = s\nendpoint_url = "+server.URL+"\n"),
	} {
		t.Setenv(name, value)
	}
	clusters := kubeconfig.Options{Context: "locks", File: write(t, "kubeconfig", `{"apiVersion": "v1", "kind": "Config", "current-context": "other", "clusters": [{"name": "locks", "cluster": {"server": "`+server.URL+`"}}],
		"contexts": [{"name": "locks", "context": {"cluster": "locks"}}, {"name": "other", "context": {"cluster": "none"}}]}`)}
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "castai-agent", Name: "agent"}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Image: "docker.io/castai/other:v1"}}}}
	for name, wantErr := range map[string]string{
		"configmap://castai-mirror/lock":   "",
		"s3://locks/castai.yaml":           "",
		"configmap://castai-mirror/none":   "file does not exist",
		"s3://locks/none.yaml":             "file does not exist",
		"configmap://castai-mirror/secret": "AccessDenied",
		"s3://locks/secret":                "the role needs s3:ListBucket on locks",
		none:                               "no such file or directory",
	} {
		t.Run(name, func(t *testing.T) {
			s := newSuite(t, pod)
			s.LockFile, s.Cluster, s.AWS.Profile = name, clusters, "locks"
			images, err := s.requiredImages(t.Context())
			if wantErr == "" {
				if err != nil || len(images) != 1 || images[0].Target != l.Images[0].Target || images[0].Digest != l.Images[0].Digest {
					t.Errorf("images %v, error %v", images, err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), name) || !strings.Contains(err.Error(), wantErr) {
				t.Fatalf("images %v, error %v, want %s: %s", images, err, name, wantErr)
			}
			if got := doctor.RemedyFor(err, ""); !strings.Contains(got, "see that "+name+" is there") {
				t.Errorf("remedy %q", got)
			}
		})
	}
}
