// SPDX-License-Identifier: Apache-2.0

package status

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/castai/privatelink-webhook/internal/exitcode"
)

// A schedule that has stopped, for whatever reason, is an error.
func TestTheSchedule(t *testing.T) {
	now := time.Date(2026, 11, 29, 8, 0, 0, 0, time.UTC)
	ago := func(d time.Duration) *metav1.Time { return &metav1.Time{Time: now.Add(-d)} }
	cronJob := func(change func(*batchv1.CronJob)) *batchv1.CronJob {
		c := &batchv1.CronJob{ObjectMeta: metav1.ObjectMeta{Namespace: "castai-mirror", Name: "privatelink-mirror", CreationTimestamp: *ago(100 * time.Hour)}}
		c.Status.LastSuccessfulTime = ago(20 * time.Minute)
		change(c)
		return c
	}
	for name, tc := range map[string]struct {
		job    *batchv1.CronJob
		maxAge time.Duration
		line   string
		err    string
	}{
		"it succeeds":        {cronJob(func(*batchv1.CronJob) {}), 3 * time.Hour, "castai-mirror/privatelink-mirror succeeded 20m0s ago", ""},
		"it has stopped":     {cronJob(func(c *batchv1.CronJob) { c.Status.LastSuccessfulTime = ago(4 * time.Hour) }), 3 * time.Hour, "succeeded 4h0m ago", "has not succeeded since 2026-11-29 04:00 UTC: see `kubectl -n castai-mirror get jobs`"},
		"any time will do":   {cronJob(func(c *batchv1.CronJob) { c.Status.LastSuccessfulTime = ago(4 * time.Hour) }), 0, "succeeded 4h0m ago", ""},
		"it never succeeded": {cronJob(func(c *batchv1.CronJob) { c.Status.LastSuccessfulTime = nil }), 3 * time.Hour, "was created 4d4h ago, and has never succeeded", "has not succeeded since 2026-11-25 04:00 UTC"},
		"it has not run yet": {cronJob(func(c *batchv1.CronJob) { c.Status.LastSuccessfulTime, c.CreationTimestamp = nil, *ago(time.Minute) }), 3 * time.Hour, "was created 1m0s ago", ""},
		"a run hangs": {cronJob(func(c *batchv1.CronJob) {
			c.Status.LastSuccessfulTime, c.Status.Active = ago(4*time.Hour), []corev1.ObjectReference{{}}
		}), 3 * time.Hour, "succeeded 4h0m ago; a run has not ended", "has not succeeded since 2026-11-29 04:00 UTC"},
		"it is suspended":     {cronJob(func(c *batchv1.CronJob) { c.Spec.Suspend = new(true) }), 3 * time.Hour, "succeeded 20m0s ago", "is suspended: kubectl -n castai-mirror patch cronjob privatelink-mirror"},
		"there is no CronJob": {nil, 3 * time.Hour, "not known: the cluster has no CronJob castai-mirror/privatelink-mirror", ""},
	} {
		t.Run(name, func(t *testing.T) {
			var objects []runtime.Object
			if tc.job != nil {
				objects = append(objects, tc.job)
			}
			m := Mirror{MaxAge: tc.maxAge}
			m.gather(t.Context(), fake.NewClientset(objects...))
			s := Status{Wanted: 1, Replicas: []Replica{{Ready: true}}, Mirror: m}
			f := s.Evaluate(now)
			if got := strings.Join(f.Errors, "\n"); (tc.err == "") != (got == "") || !strings.Contains(got, tc.err) || len(f.Unknown) > 0 {
				t.Errorf("%+v, want %q", f, tc.err)
			}
			if got := m.describe(now); !strings.Contains(got, tc.line) {
				t.Errorf("%q, want %q", got, tc.line)
			}
		})
	}
	t.Run("it cannot be read", func(t *testing.T) {
		client := fake.NewClientset()
		client.PrependReactor("get", "cronjobs", func(clienttesting.Action) (bool, runtime.Object, error) { return true, nil, errors.New("forbidden") })
		s := Status{Wanted: 1, Replicas: []Replica{{Ready: true}}}
		s.Mirror.gather(t.Context(), client)
		if f := s.Evaluate(now); len(f.Unknown) != 1 || f.Unknown[0] != "the mirror's schedule: forbidden" || s.Mirror.describe(now) != "unknown: forbidden" {
			t.Errorf("%+v", f)
		}
	})
}

// Whatever runs the mirror, the time of its lock in S3 tells that it has stopped.
func TestTheAgeOfTheLock(t *testing.T) {
	now := time.Now()
	written := now.Add(-5 * time.Hour)
	var server *httptest.Server
	server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/bucket/lock.yaml" {
			http.NotFound(w, r)
			return
		}
		host := strings.TrimPrefix(server.URL, "http://")
		w.Header().Set("Last-Modified", written.UTC().Format(http.TimeFormat))
		fmt.Fprintf(w, "apiVersion: privatelink.cast.ai/v1alpha1\nkind: Lock\nregistry: %s/castai\nimages:\n- {source: ghcr.io/a:1, target: %[1]s/castai/a:1, mediaType: m, size: 1, digest: sha256:%s}\n", host, strings.Repeat("0", 64))
	}))
	t.Cleanup(server.Close)
	for name, value := range map[string]string{"AWS_ENDPOINT_URL": server.URL, "AWS_ACCESS_KEY_ID": "AKIDTEST", "AWS_SECRET_ACCESS_KEY": "s", "AWS_REGION": "us-east-1", "AWS_PROFILE": "", "AWS_CONFIG_FILE": "/dev/null", "AWS_SHARED_CREDENTIALS_FILE": "/dev/null", "DOCKER_CONFIG": t.TempDir()} {
		t.Setenv(name, value)
	}
	for maxAge, isError := range map[time.Duration]bool{3 * time.Hour: true, 6 * time.Hour: false, 0: false} {
		s := Status{Wanted: 1, Replicas: []Replica{{Ready: true}}, Mirror: Mirror{MaxAge: maxAge}}
		o := Options{LockFile: "s3://bucket/lock.yaml"}
		if err := s.gatherRegistry(t.Context(), o, newResolver(t.Context(), o, 0)); err != nil {
			t.Fatal(err)
		}
		if got := s.Mirror.describe(now); !strings.HasPrefix(got, "s3://bucket/lock.yaml was written 5h0m ago") {
			t.Error(got)
		}
		f := s.Evaluate(now)
		if got := strings.Join(f.Errors, "\n"); strings.Contains(got, "s3://bucket/lock.yaml was last written on ") != isError || !strings.Contains(got, "1 images are missing") {
			t.Errorf("%s: %q", maxAge, got)
		}
	}
	o := Options{LockFile: "oci://bucket/lock.yaml"}
	if err := new(Status).gatherRegistry(t.Context(), o, newResolver(t.Context(), o, 0)); exitcode.Code(err) != exitcode.Usage {
		t.Error(err)
	}
}
