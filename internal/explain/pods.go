// SPDX-License-Identifier: Apache-2.0

package explain

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/yaml"

	"github.com/castai/privatelink-webhook/internal/podspec"
)

// Pod is a pod that a manifest asks for, by itself or by a workload's template.
type Pod struct {
	Document  int         `json:"document"` // in the text, from 1
	Kind      string      `json:"kind"`     // of the workload
	Name      string      `json:"name"`
	Namespace string      `json:"namespace"`
	Object    *corev1.Pod `json:"-"`
}

func (p Pod) String() string { return p.Kind + " " + p.Namespace + "/" + p.Name }

// Pods finds the pods in a stream of YAML or JSON: pods, the built-in workloads,
// custom kinds that embed a pod template where those do, and all of these in
// lists. name stands for the text in errors; namespace is that of objects that
// name none.
func Pods(name string, text []byte, namespace string) (out []Pod, err error) {
	d := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(text), 4096)
	for document := 1; ; document++ {
		var object map[string]any
		if err := d.Decode(&object); errors.Is(err, io.EOF) {
			return out, nil
		} else if err != nil {
			return nil, fmt.Errorf("%s: document %d: %w", name, document, err)
		}
		found, err := pods(object, document, "", namespace)
		if err != nil {
			return nil, fmt.Errorf("%s: document %d: %w", name, document, err)
		}
		out = append(out, found...)
	}
}

func pods(object map[string]any, document int, kind, namespace string) (out []Pod, err error) {
	if k, ok := object["kind"].(string); ok {
		kind = k
	}
	if item, ok := strings.CutSuffix(kind, "List"); ok {
		items, _ := object["items"].([]any)
		for _, i := range items {
			o, _ := i.(map[string]any)
			found, err := pods(o, document, item, namespace)
			if err != nil {
				return nil, err
			}
			out = append(out, found...)
		}
		return out, nil
	}
	path := podspec.Template(kind)
	if path == nil {
		return nil, nil
	}
	template := inside(object, path[:len(path)-1]...)
	spec, ok := template["spec"].(map[string]any)
	if _, exists := spec["containers"]; !ok || !exists {
		return nil, nil
	}
	raw, err := json.Marshal(map[string]any{"metadata": template["metadata"], "spec": spec})
	if err != nil {
		return nil, err
	}
	p := Pod{Document: document, Kind: kind, Namespace: namespace, Object: &corev1.Pod{}}
	if err := json.Unmarshal(raw, p.Object); err != nil {
		return nil, fmt.Errorf("%s: %w", kind, err)
	}
	metadata := inside(object, "metadata")
	if p.Name, ok = metadata["name"].(string); !ok {
		p.Name, _ = metadata["generateName"].(string)
	}
	if n, _ := metadata["namespace"].(string); n != "" {
		p.Namespace = n
	}
	p.Object.TypeMeta, p.Object.Namespace = metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"}, p.Namespace
	return []Pod{p}, nil
}

// inside is the map at the path; nil if there is none.
func inside(o map[string]any, path ...string) map[string]any {
	for _, field := range path {
		o, _ = o[field].(map[string]any)
	}
	return o
}
