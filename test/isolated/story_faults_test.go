// SPDX-License-Identifier: Apache-2.0

//go:build linux && isolated && story

package isolated

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/castai/privatelink-webhook/deploy"
	"github.com/castai/privatelink-webhook/internal/doctor"
	"github.com/castai/privatelink-webhook/internal/testutil/remedy"
	"github.com/castai/privatelink-webhook/test/aws/emulator"
)

// storyFault is one at a border of the product.
type storyFault struct {
	title, text string
	cause       func(*testing.T)
	alerts      []string // that fire; none for what Prometheus cannot see
	check       string   // of the doctor that finds it
	part        string   // that is red in the report's picture
}

// missingImage exists in public only.
const missingImage = "ghcr.io/castai/images/spot-handler:v9.9.9"

func (s *story) faults() []storyFault {
	return []storyFault{
		{
			"An image is missing", "A version that was never mirrored is installed.",
			func(t *testing.T) {
				s.web.publish(t, missingImage, behavior{})
				s.sh(t, "kubectl -n castai-agent create deployment spot --image="+missingImage)
			},
			[]string{"PrivatelinkImagesMissing"}, "cluster/pulls", "Pods of CAST AI",
		},
		{
			"A policy of an endpoint", "The policy of the S3 endpoint is narrowed to buckets of the account, which the layers of ECR are not in. Prometheus cannot see it: no alert fires before a pull fails.",
			func(t *testing.T) { s.injectInAWS(t, "the policy of the S3 endpoint allows buckets of the account") },
			nil, "network/s3-policy", "Endpoint s3",
		},
		{
			"The certificate", "A clean-up removes the right of the webhook to publish its CA, and a tool writes another CA.",
			func(t *testing.T) {
				s.sh(t, "kubectl delete clusterrolebinding "+deploy.Name)
				_, _, foreign := issue(t, time.Now(), time.Now())
				trust(t, foreign)
			},
			[]string{"PrivatelinkCertificateDistrusted", "PrivatelinkPodsRefused"}, "cluster/rbac", "Webhook",
		},
		{
			"A quota", "The namespace of the webhook gets a quota of one pod, and a pod ends.",
			func(t *testing.T) {
				s.sh(t, "kubectl -n castai-privatelink create quota few --hard=pods=1")
				eventually(t, 30*time.Second, func(context.Context) error {
					if used := kubectl(t, "", "-n", deploy.Namespace, "get", "resourcequota", "few", "-o", "jsonpath={.status.used.pods}"); used != "2" {
						return fmt.Errorf("the quota counts %q pods", used)
					}
					return nil
				})
				s.sh(t, "kubectl -n castai-privatelink delete $(kubectl -n castai-privatelink get pods -o name | head -n 1)")
			},
			[]string{"PrivatelinkWebhookNotRedundant"}, "cluster/admission", "Webhook",
		},
	}
}

// injectInAWS injects a fault of the emulator.
func (s *story) injectInAWS(t *testing.T, name string) {
	t.Helper()
	if err := s.account.AdoptEndpoints(testCtx); err != nil {
		t.Fatal(err)
	}
	faults := emulator.Faults()
	i := slices.IndexFunc(faults, func(f emulator.Fault) bool { return f.Name == name })
	if i < 0 {
		t.Fatalf("there is no fault %q", name)
	}
	if err := faults[i].Inject(testCtx, s.account); err != nil {
		t.Fatal(err)
	}
}

// mendFaults causes one fault after the other, and does what the doctor says.
func (s *story) mendFaults(t *testing.T) {
	s.chapter("Faults", "Prometheus evaluates the alerts, with durations 240 times shorter. Each fault below is found by the doctor, is red in its report, and its remedy is run as it is printed.")
	w := watchAlerts(t)
	for _, f := range s.faults() {
		if !t.Run(f.title, func(t *testing.T) { s.mend(t, w, f) }) {
			t.FailNow()
		}
	}
}

func (s *story) mend(t *testing.T, w *alertWatch, f storyFault) {
	w.silent(t)
	s.tell("### %s\n\n%s", f.title, f.text)
	f.cause(t)
	begin := time.Now()
	w.await(t, f.alerts)
	if f.alerts != nil {
		s.tell("Alerts that fire %s later: `%s`.", since(begin), strings.Join(f.alerts, "`, `"))
	}
	advice := s.finding(t, f.check).Remedy
	s.exit(t, 3, s.doctor(), "FAIL|WARN|^Next")
	red := s.red(t)
	if !slices.ContainsFunc(red, func(name string) bool { return strings.Contains(name, f.part) }) {
		t.Errorf("red in the picture: %q, want one with %q", red, f.part)
	}
	s.tell("Red in the report: %s.", strings.Join(red, "; "))
	s.do(t, advice)
	eventually(t, 90*time.Second, func(context.Context) error {
		if found := s.findings(t); len(found) > 0 {
			return fmt.Errorf("the doctor still finds %+v", found)
		}
		return nil
	})
	w.silent(t)
	s.tell("All checks are ok and no alert fires, %s after the fault.", since(begin))
}

// do runs the commands of a remedy as printed.
func (s *story) do(t *testing.T, text string) {
	t.Helper()
	if commands := emulator.Commands(text); len(commands) > 0 {
		s.tell("On a machine with the AWS CLI:")
		for _, c := range commands {
			s.aws(t, c)
		}
		return
	}
	commands := remedy.Commands(text)
	if commands == "" {
		t.Fatalf("no command in the remedy %q", text)
	}
	s.sh(t, commands)
}

// findings are the checks that failed or warn.
func (s *story) findings(t *testing.T) (found []diagnosis) {
	t.Helper()
	var report struct{ Checks []diagnosis }
	out := s.capture(t, s.doctor()+" -o json 2>/dev/null || test $? = 3")
	if err := json.Unmarshal([]byte(out), &report); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, d := range report.Checks {
		if d.Status == doctor.Failed || d.Status == doctor.Warning {
			found = append(found, d)
		}
	}
	return found
}

// finding waits for what a check finds.
func (s *story) finding(t *testing.T, check string) (d diagnosis) {
	t.Helper()
	eventually(t, 60*time.Second, func(context.Context) error {
		found := s.findings(t)
		i := slices.IndexFunc(found, func(d diagnosis) bool { return d.ID == check })
		if i < 0 {
			return fmt.Errorf("%s finds nothing; the others find %+v", check, found)
		}
		d = found[i]
		return nil
	})
	return d
}

var redPart = regexp.MustCompile(`<a class="part (?:failed|warning)"[^>]* aria-label="([^"]*)"`)

// red are the names of the parts of the picture in the HTML report that are not ok.
func (s *story) red(t *testing.T) (names []string) {
	t.Helper()
	for _, m := range redPart.FindAllStringSubmatch(s.capture(t, s.doctor()+" -o html || test $? = 3"), -1) {
		names = append(names, m[1])
	}
	return names
}

// capture runs a line that the page does not show.
func (s *story) capture(t *testing.T, line string) string {
	t.Helper()
	return s.work.execute(t, 0, "", "sh", "-euc", line)
}
