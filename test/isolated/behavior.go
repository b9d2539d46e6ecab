// SPDX-License-Identifier: Apache-2.0

//go:build linux

package isolated

import (
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"

	"github.com/castai/privatelink-webhook/internal/podspec"
)

//go:embed testdata/catalog.tsv
var catalog string

// CatalogImages lists the images that CAST AI's components name.
func CatalogImages() []string {
	return slices.Sorted(maps.Keys(catalogBehaviors()))
}

func catalogBehaviors() map[string]behavior {
	out := map[string]behavior{}
	for line := range strings.Lines(catalog) {
		if image, use, ok := strings.Cut(strings.TrimSpace(line), "\t"); ok && image[0] != '#' {
			out[image] = behavior{ends: use == "job"}
		}
	}
	return out
}

// behavior is what a stand-in does when it is started by no other name.
type behavior struct {
	ends  bool  // at once, and well
	ports []int // that its probes ask
}

func (b behavior) env() (env []string) {
	if b.ends {
		env = append(env, "STAND_IN_ENDS=true")
	}
	if len(b.ports) > 0 {
		env = append(env, "STAND_IN_PORTS="+strings.Trim(fmt.Sprint(b.ports), "[]"))
	}
	return env
}

// wanted maps every image of the manifests to what its stand-in has to do, and
// lists the commands by which it is started.
func (n *Node) wanted(manifests []string) (map[string]behavior, []string, error) {
	uses, commands := map[string]behavior{}, map[string]bool{}
	for _, text := range manifests {
		if err := eachPod(text, func(kind string, spec corev1.PodSpec) {
			job := kind == "Job" || kind == "CronJob"
			for _, c := range spec.InitContainers {
				n.use(uses, commands, c, job || c.RestartPolicy == nil || *c.RestartPolicy != corev1.ContainerRestartPolicyAlways)
			}
			for _, c := range spec.Containers {
				n.use(uses, commands, c, job)
			}
			for _, v := range spec.Volumes {
				if v.Image != nil {
					uses[v.Image.Reference] = behavior{}
				}
			}
		}); err != nil {
			return nil, nil, err
		}
	}
	return uses, slices.Sorted(maps.Keys(commands)), nil
}

// use notes one container. An image ends by itself only if all its uses do.
func (n *Node) use(uses map[string]behavior, commands map[string]bool, c corev1.Container, ends bool) {
	image, _, _ := strings.Cut(c.Image, "@") // the tag is pushed, and the digest is then there
	b, known := uses[image]
	b.ends = ends && (!known || b.ends)
	for _, p := range []*corev1.Probe{c.StartupProbe, c.ReadinessProbe, c.LivenessProbe} {
		if port := probed(p, c.Ports); port > 0 && !slices.Contains(b.ports, port) {
			b.ports = append(b.ports, port)
		}
	}
	uses[image] = b
	if len(c.Command) > 0 {
		commands[c.Command[0]] = true
	}
	for _, e := range c.Env {
		if slices.Contains(n.Rules.EnvVars(), e.Name) && n.Rules.EnvValue(e.Value).Changed() {
			if _, known := uses[e.Value]; !known {
				uses[e.Value] = behavior{}
			}
		}
	}
}

// probed is the port that a probe asks, 0 for none.
func probed(p *corev1.Probe, ports []corev1.ContainerPort) int {
	var port intstr.IntOrString
	switch {
	case p == nil:
	case p.HTTPGet != nil:
		port = p.HTTPGet.Port
	case p.TCPSocket != nil:
		port = p.TCPSocket.Port
	}
	for _, named := range ports {
		if port.Type == intstr.String && named.Name == port.StrVal {
			return int(named.ContainerPort)
		}
	}
	return port.IntValue()
}

// eachPod calls f with the kind and the pod specification of each object of a
// stream of manifests that has one.
func eachPod(text string, f func(kind string, spec corev1.PodSpec)) error {
	documents := utilyaml.NewYAMLOrJSONDecoder(strings.NewReader(text), 4096)
	for {
		var object map[string]any
		if err := documents.Decode(&object); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		var faults []error
		podspec.Walk(any(object), func(w podspec.Workload) {
			var spec corev1.PodSpec
			raw, err := json.Marshal(w.Spec)
			if err == nil {
				err = json.Unmarshal(raw, &spec)
			}
			if err != nil {
				faults = append(faults, fmt.Errorf("%s: %w", w.Kind, err))
				return
			}
			f(w.Kind, spec)
		})
		if len(faults) > 0 {
			return errors.Join(faults...)
		}
	}
}
