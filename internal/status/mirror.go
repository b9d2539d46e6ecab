// SPDX-License-Identifier: Apache-2.0

package status

import (
	"context"
	"fmt"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/castai/privatelink-webhook/internal/htmlreport"
)

// The CronJob of deploy/mirror.
const (
	mirrorNamespace = "castai-mirror"
	mirrorName      = "privatelink-mirror"
)

// Mirror is when the mirror last ran on a schedule.
type Mirror struct {
	// MaxAge is how long ago that may be; 0 for any time.
	MaxAge time.Duration `json:"-"`
	// CronJob is NAMESPACE/NAME of the schedule in the cluster, "" if it has none.
	CronJob   string `json:"cronJob,omitempty"`
	Suspended bool   `json:"suspended,omitempty"`
	// Since is when the CronJob last succeeded, or when it was created if it never has.
	Since     time.Time `json:"since,omitzero"`
	Succeeded bool      `json:"succeeded,omitempty"`
	// Active is the number of its runs that have not ended.
	Active int `json:"active,omitempty"`
	// Lock is the lock in S3, and LockWritten when a run last wrote it. That run may have
	// failed for some of its images.
	Lock        string    `json:"lock,omitempty"`
	LockWritten time.Time `json:"lockWritten,omitzero"`
	// Failed is the reason why the CronJob is not known.
	Failed string `json:"failed,omitempty"`
}

// gather reads the CronJob. A cluster without one is mirrored from elsewhere.
func (m *Mirror) gather(ctx context.Context, client kubernetes.Interface) {
	job, err := client.BatchV1().CronJobs(mirrorNamespace).Get(ctx, mirrorName, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return
	case err != nil:
		m.Failed = err.Error()
		return
	}
	m.CronJob, m.Active = mirrorNamespace+"/"+mirrorName, len(job.Status.Active)
	m.Suspended = job.Spec.Suspend != nil && *job.Spec.Suspend
	m.Since = job.CreationTimestamp.UTC()
	if last := job.Status.LastSuccessfulTime; last != nil {
		m.Since, m.Succeeded = last.UTC(), true
	}
}

func (m Mirror) isOverdue(since, now time.Time) bool {
	return !since.IsZero() && m.MaxAge > 0 && now.Sub(since) > m.MaxAge
}

// timeFormat is that of times in UTC.
const timeFormat = "2006-01-02 15:04 UTC"

// evaluate returns the errors, which stay the same while time passes.
func (m Mirror) evaluate(now time.Time) (errs []string) {
	switch {
	case m.Suspended:
		errs = append(errs, fmt.Sprintf("the CronJob %s is suspended: kubectl -n %s patch cronjob %s -p '{\"spec\":{\"suspend\":false}}'", m.CronJob, mirrorNamespace, mirrorName))
	case m.isOverdue(m.Since, now):
		errs = append(errs, fmt.Sprintf("the CronJob %s has not succeeded since %s: see `kubectl -n %s get jobs`, and the log of the last one", m.CronJob, m.Since.Format(timeFormat), mirrorNamespace))
	}
	if m.isOverdue(m.LockWritten, now) {
		errs = append(errs, fmt.Sprintf("%s was last written on %s: see why the schedule that writes it has stopped", m.Lock, m.LockWritten.Format(timeFormat)))
	}
	return errs
}

// lastRun returns what Watch reports if it changes.
func (m Mirror) lastRun() string {
	switch {
	case m.Succeeded:
		return "succeeded on " + m.Since.Format(timeFormat)
	case m.Lock != "":
		return m.Lock + " was written on " + m.LockWritten.Format(timeFormat)
	}
	return ""
}

// state is that of the report.
func (m Mirror) state(now time.Time) htmlreport.State {
	switch {
	case len(m.evaluate(now)) > 0:
		return htmlreport.Failed
	case m.Failed != "":
		return htmlreport.Unknown
	case m.CronJob == "" && m.Lock == "":
		return htmlreport.NotChecked
	}
	return htmlreport.OK
}

// describe returns one line.
func (m Mirror) describe(now time.Time) string {
	var parts []string
	switch {
	case m.Failed != "":
		parts = append(parts, "unknown: "+m.Failed)
	case m.CronJob == "" && m.Lock == "":
		return "not known: the cluster has no CronJob " + mirrorNamespace + "/" + mirrorName + ", and the lock is not in S3"
	case m.Succeeded:
		parts = append(parts, fmt.Sprintf("%s succeeded %s ago", m.CronJob, duration(m.Since, now)))
	case m.CronJob != "":
		parts = append(parts, fmt.Sprintf("%s was created %s ago, and has never succeeded", m.CronJob, duration(m.Since, now)))
	}
	if m.Active > 0 {
		parts = append(parts, "a run has not ended")
	}
	if m.Lock != "" {
		parts = append(parts, fmt.Sprintf("%s was written %s ago", m.Lock, duration(m.LockWritten, now)))
	}
	return strings.Join(parts, "; ")
}
