// SPDX-License-Identifier: Apache-2.0

package explain

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"

	"github.com/castai/privatelink-webhook/internal/manifest"
	"github.com/castai/privatelink-webhook/internal/podspec"
)

// Pod is a pod in a manifest, or the pod that a workload's template creates.
type Pod struct {
	Document  int    `json:"document"` // in the text, from 1
	Kind      string `json:"kind"`     // of the workload
	Name      string `json:"name"`
	Namespace string `json:"namespace"`
	// Warnings are the fields that the API server would not decode: unknown ones,
	// such as those whose name has another case, and repeated ones.
	Warnings []string `json:"warnings,omitempty"`
	// Fault is why the pod of a custom resource is not evaluated: the resource has
	// containers of a schema of its own.
	Fault  string      `json:"fault,omitempty"`
	Object *corev1.Pod `json:"-"`
	// NamespaceLabels are the labels of the namespace, as far as they are known.
	NamespaceLabels map[string]string `json:"-"`

	namesNoNamespace bool
}

// Namespace has what a manifest may not have.
type Namespace struct {
	Name   string            // of objects that do not specify one
	Labels map[string]string // of all namespaces; they decide for namespaceSelector
}

func (p Pod) String() string { return p.Kind + " " + p.Namespace + "/" + p.Name }

// readPods returns the pods in a manifest, found as podspec.Walk does. name stands for the
// text in errors.
func readPods(name string, text []byte, namespace Namespace) (out []Pod, err error) {
	m, err := manifest.Parse(name, text)
	if err != nil {
		return nil, err
	}
	for _, d := range m.Documents() {
		podspec.Walk(d.Object, func(w podspec.Workload) {
			pod, errPod := newPod(w, namespace)
			pod.Document = d.Number
			out, err = append(out, pod), errors.Join(err, errPod)
		})
		if err != nil {
			return nil, fmt.Errorf("%s: document %d: %w", name, d.Number, err)
		}
	}
	return out, nil
}

// newPod decodes the pod of a workload as the API server does: the names of fields
// are case-sensitive. Unknown and repeated fields become warnings, except in custom
// resources, whose schema is not known: there, a pod that cannot be decoded is no error.
func newPod(w podspec.Workload, namespace Namespace) (Pod, error) {
	p := Pod{Kind: w.Kind, Name: w.Name, Namespace: w.Namespace, Object: &corev1.Pod{}, NamespaceLabels: namespace.Labels}
	if p.namesNoNamespace = p.Namespace == ""; p.namesNoNamespace {
		p.Namespace = namespace.Name
	}
	raw, err := json.Marshal(map[string]any{"apiVersion": "v1", "kind": "Pod", "metadata": w.Template["metadata"], "spec": w.Spec})
	if err != nil {
		return p, fmt.Errorf("%s: %w", w.Kind, err)
	}
	scheme, err := newScheme()
	if err != nil {
		return p, err
	}
	_, _, err = serializer.NewCodecFactory(scheme, serializer.EnableStrict).UniversalDeserializer().Decode(raw, nil, p.Object)
	if strict, ok := runtime.AsStrictDecodingError(err); ok {
		err = nil
		if isBuiltIn(w.APIVersion) {
			p.Warnings = locate(strict.Errors(), w.Path)
		}
	}
	if err != nil && !isBuiltIn(w.APIVersion) {
		p.Fault = fmt.Sprintf("the containers are not those of a pod: %v", err)
		return p, nil
	}
	if err != nil {
		return p, fmt.Errorf("%s: %w", w.Kind, err)
	}
	p.Object.Namespace = p.Namespace
	return p, nil
}

// isBuiltIn reports whether Kubernetes itself serves the API version: the groups of
// custom resources have a dot.
func isBuiltIn(apiVersion string) bool {
	group, _, ok := strings.Cut(apiVersion, "/")
	return !ok || !strings.Contains(group, ".")
}

// locate prefixes the fields in errors, which are relative to the template, with the
// path of the template in the workload.
func locate(errs []error, specPath []string) (out []string) {
	prefix := strings.Join(append(slices.Clone(specPath[:max(len(specPath)-1, 0)]), ""), ".")
	for _, err := range errs {
		out = append(out, strings.Replace(err.Error(), `"`, `"`+prefix, 1))
	}
	return out
}

func newScheme() (*runtime.Scheme, error) {
	scheme := runtime.NewScheme()
	return scheme, corev1.AddToScheme(scheme)
}
