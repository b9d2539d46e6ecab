// SPDX-License-Identifier: Apache-2.0

package explain

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/castai/privatelink-webhook/internal/exitcode"
	"github.com/castai/privatelink-webhook/internal/manifest"
	"github.com/castai/privatelink-webhook/internal/rewrite"
)

// ExplainFiles explains every pod in manifests, named as manifest.ReadFiles takes
// them. A file that cannot be read or parsed, or that has no pod, is a usage error.
func (b *Bundle) ExplainFiles(ctx context.Context, files []string, stdin io.Reader, namespace Namespace) ([]Report, error) {
	inputs, err := manifest.ReadFiles(files, stdin)
	if err != nil {
		return nil, exitcode.AsUsage(err)
	}
	reports := []Report{}
	for _, input := range inputs {
		found, err := b.explainText(ctx, input.Name, input.Text, namespace)
		if err != nil {
			return nil, err
		}
		reports = append(reports, found...)
	}
	return reports, nil
}

func (b *Bundle) explainText(ctx context.Context, name string, text []byte, namespace Namespace) (reports []Report, err error) {
	pods, err := readPods(name, text, namespace)
	if err != nil {
		return nil, exitcode.AsUsage(err)
	}
	if len(pods) == 0 {
		return nil, exitcode.Usagef("%s: no pod and no workload in it", name)
	}
	for _, p := range pods {
		r, err := b.Explain(ctx, p)
		if err != nil {
			return nil, err
		}
		reports = append(reports, r)
	}
	return reports, nil
}

// Outcome is the error that ends a run with these reports: a pod was not evaluated, or
// needs action.
func Outcome(reports []Report) error {
	for _, r := range reports {
		if r.Fault != "" {
			return fmt.Errorf("%s, document %d: %s", r.Pod, r.Document, r.Fault)
		}
	}
	if slices.ContainsFunc(reports, Report.NeedsAction) {
		return exitcode.ActionNeededf("a pod would be refused or stored with a public image, or has unknown fields")
	}
	return nil
}

// Print writes the reports as text.
func Print(w io.Writer, reports []Report, rules *rewrite.Rules) error {
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	for i, r := range reports {
		if i > 0 {
			fmt.Fprintln(t)
		}
		r.print(t, rules)
	}
	return t.Flush()
}

func (r Report) print(w io.Writer, rules *rewrite.Rules) {
	fmt.Fprintln(w, r.Pod)
	if r.Fault != "" {
		fmt.Fprintf(w, "  error\t%s\n", r.Fault)
		return
	}
	if r.Selected {
		fmt.Fprintf(w, "  namespace\t%s is selected\n", r.Namespace)
	} else {
		fmt.Fprintf(w, "  namespace\t%s is not selected; selected are %s%s\n", r.Namespace, selected(rules), r.namespaceRemedy(rules))
	}
	for _, warning := range r.Warnings {
		fmt.Fprintf(w, "  warning\t%s: kubectl refuses it; names of fields are case-sensitive\n", warning)
	}
	for _, c := range r.Conditions {
		fmt.Fprintf(w, "  condition\t%s: %t\n", c.Name, c.Value)
	}
	if r.Error != "" {
		fmt.Fprintf(w, "  error\t%s\n", r.Error)
	}
	if r.Refused {
		fmt.Fprint(w, "  refused\tthe failure policy is Fail\n")
	}
	for _, image := range r.Images {
		change := image.Source
		if image.Target != image.Source {
			change += " -> " + image.Target
		}
		fmt.Fprintf(w, "  %s\t%s (%s)\n", image.Location, change, image.Rule)
	}
	fmt.Fprintf(w, "  patch\t%s\n", r.Patch)
	fmt.Fprintf(w, "  guard\t%s\n", strings.TrimSuffix(r.Guard.Verdict+": "+r.Guard.Message, ": "))
	if r.Cost > 0 {
		fmt.Fprintf(w, "  cost\t%d for the %s, %d for the guard\n", r.Cost, r.Engine, r.Guard.Cost)
	}
}

// selected names the namespaces that the rules select.
func selected(rules *rewrite.Rules) string {
	names := strings.Join(rules.Namespaces(), ", ")
	if s := rules.Config().NamespaceSelector; !s.IsEmpty() {
		names += " and those with the labels " + s.String()
	}
	return names
}

// namespaceRemedy says how the pod is evaluated in another namespace.
func (r Report) namespaceRemedy(rules *rewrite.Rules) string {
	switch {
	case r.namesNoNamespace:
		return "; the manifest names none: if the pod is created in another one, use -n NAMESPACE"
	case !rules.Config().NamespaceSelector.IsEmpty() && len(r.NamespaceLabels) == 0:
		return ": give the labels of the namespace with --namespace-labels"
	}
	return ""
}
