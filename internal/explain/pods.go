// SPDX-License-Identifier: Apache-2.0

package explain

import (
	"encoding/json"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/castai/privatelink-webhook/internal/manifest"
	"github.com/castai/privatelink-webhook/internal/podspec"
)

// Pod is a pod in a manifest, or the pod that a workload's template creates.
type Pod struct {
	Document  int         `json:"document"` // in the text, from 1
	Kind      string      `json:"kind"`     // of the workload
	Name      string      `json:"name"`
	Namespace string      `json:"namespace"`
	Object    *corev1.Pod `json:"-"`
}

func (p Pod) String() string { return p.Kind + " " + p.Namespace + "/" + p.Name }

// Pods returns the pods in a manifest, found as podspec.Walk does. name stands for the
// text in errors; namespace is the one of objects without.
func Pods(name string, text []byte, namespace string) (out []Pod, err error) {
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

// newPod decodes the pod of a workload.
func newPod(w podspec.Workload, namespace string) (Pod, error) {
	if w.Namespace != "" {
		namespace = w.Namespace
	}
	p := Pod{Kind: w.Kind, Name: w.Name, Namespace: namespace, Object: &corev1.Pod{}}
	raw, err := json.Marshal(map[string]any{"metadata": w.Template["metadata"], "spec": w.Spec})
	if err == nil {
		err = json.Unmarshal(raw, p.Object)
	}
	if err != nil {
		return p, fmt.Errorf("%s: %w", w.Kind, err)
	}
	p.Object.TypeMeta, p.Object.Namespace = metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"}, namespace
	return p, nil
}
