// SPDX-License-Identifier: Apache-2.0

package confirm

import (
	"strings"
	"testing"

	"github.com/castai/privatelink-webhook/internal/exitcode"
	"github.com/castai/privatelink-webhook/internal/target"
)

// cmd/privatelink tests the question on a terminal.
func TestWithoutATerminal(t *testing.T) {
	prod := target.Target{Context: "prod", Server: "https://x"}
	for name, tc := range map[string]struct {
		action Action
		code   int
		says   string
	}{
		"confirmed":                    {Action{Target: prod, Named: true, Yes: true}, exitcode.OK, "in the cluster (context prod, https://x): delete it\n"},
		"the cluster is not named":     {Action{Target: prod, Yes: true}, exitcode.Usage, "confirm it with --context NAME"},
		"not confirmed":                {Action{Target: prod, Named: true}, exitcode.Usage, "confirm it with --yes"},
		"neither":                      {Action{Target: prod}, exitcode.Usage, "delete it in the cluster (context prod, https://x): confirm it with --yes and --context NAME"},
		"in a pod, confirmed":          {Action{Target: target.Target{Server: "https://10.0.0.1"}, Yes: true}, exitcode.OK, "https://10.0.0.1"},
		"in a pod, without --yes":      {Action{Target: target.Target{Server: "https://10.0.0.1"}}, exitcode.Usage, "--yes"},
		"an answer that no one has to": {Action{Target: prod, In: strings.NewReader("y\n")}, exitcode.Usage, "--yes"},
	} {
		t.Run(name, func(t *testing.T) {
			var said strings.Builder
			tc.action.What, tc.action.Err = "delete it", &said
			err := tc.action.Ask()
			if err != nil {
				said.WriteString(err.Error())
			}
			if exitcode.Code(err) != tc.code || !strings.Contains(said.String(), tc.says) {
				t.Errorf("%v, %q; want exit code %d, %q", err, &said, tc.code, tc.says)
			}
		})
	}
}
