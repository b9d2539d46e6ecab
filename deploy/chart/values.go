// SPDX-License-Identifier: Apache-2.0

package chart

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"sigs.k8s.io/yaml"

	"github.com/castai/privatelink-webhook/deploy"
	"github.com/castai/privatelink-webhook/internal/rewrite"
)

// Values are the values of the chart, apart from those of the configuration file.
type values struct {
	Engine        string `json:"engine"`
	Guard         string `json:"guard"`
	FailurePolicy string `json:"failurePolicy"`
	Replicas      int    `json:"replicas"`
	Image         struct {
		Repository string `json:"repository"`
		Tag        string `json:"tag"`
		Digest     string `json:"digest"`
		PullPolicy string `json:"pullPolicy"`
	} `json:"image"`
	ImagePullSecrets          []any             `json:"imagePullSecrets"`
	Resources                 map[string]any    `json:"resources"`
	NodeSelector              map[string]any    `json:"nodeSelector"`
	Tolerations               []any             `json:"tolerations"`
	Affinity                  map[string]any    `json:"affinity"`
	TopologySpreadConstraints []any             `json:"topologySpreadConstraints"`
	PriorityClassName         string            `json:"priorityClassName"`
	PodLabels                 map[string]any    `json:"podLabels"`
	PodAnnotations            map[string]any    `json:"podAnnotations"`
	CommonLabels              map[string]string `json:"commonLabels"`
	PodDisruptionBudget       struct {
		Enabled        bool `json:"enabled"`
		MaxUnavailable any  `json:"maxUnavailable"`
	} `json:"podDisruptionBudget"`
	NetworkPolicy struct {
		Enabled bool `json:"enabled"`
	} `json:"networkPolicy"`
	HostNetwork bool `json:"hostNetwork"`
	CertManager struct {
		Enabled bool `json:"enabled"`
	} `json:"certManager"`
	Monitoring struct {
		ScrapeAnnotations bool              `json:"scrapeAnnotations"`
		PodMonitor        bool              `json:"podMonitor"`
		PrometheusRule    bool              `json:"prometheusRule"`
		Dashboard         bool              `json:"dashboard"`
		Labels            map[string]string `json:"labels"`
	} `json:"monitoring"`
}

// configKeys are the keys of the configuration file, which are values as well, in
// the order of the file.
func configKeys() []string {
	return []string{"registry", "namespaces", "namespaceSelector", "rules", "keep", "envVars", "repositories", "track"}
}

// Options reads a file of values and returns the options that render the objects that
// the chart renders with it. file is the name that errors carry.
//
// What the file leaves out has the default of the chart. Errors name every fault.
func Options(file string, text []byte) (deploy.Options, error) {
	all, err := read(file, text)
	if err != nil {
		return deploy.Options{}, err
	}
	o, err := options(all)
	if err != nil {
		return deploy.Options{}, fmt.Errorf("%s: %w", file, err)
	}
	return o, nil
}

// Config reads a file of values and returns the text of the configuration file that
// has its rules. It is what the chart writes into the ConfigMap.
func Config(file string, text []byte) ([]byte, error) {
	o, err := Options(file, text)
	if err != nil {
		return nil, err
	}
	return append(o.Config, '\n'), nil
}

// FromRules returns the text of a file of values for the configuration that the rules
// come from. All its keys are set, so that later defaults change nothing.
func FromRules(r *rewrite.Rules) ([]byte, error) {
	text, err := json.Marshal(r.Config())
	if err != nil {
		return nil, err
	}
	var config map[string]any
	if err := json.Unmarshal(text, &config); err != nil {
		return nil, err
	}
	var out bytes.Buffer
	for _, key := range configKeys() {
		value := config[key]
		switch {
		case value == nil && (key == "rules" || key == "keep"):
			value = []any{}
		case value == nil:
			value = map[string]any{}
		}
		line, err := yaml.Marshal(map[string]any{key: value})
		if err != nil {
			return nil, err
		}
		out.Write(line)
	}
	_, err = Options("values of the configuration", out.Bytes()) // Helm would refuse them later
	return out.Bytes(), err
}

func options(all map[string]any) (deploy.Options, error) {
	config, err := configText(all)
	if err != nil {
		return deploy.Options{}, err
	}
	rules, err := rewrite.Load("", config)
	if err != nil {
		return deploy.Options{}, err
	}
	text, err := json.Marshal(all)
	if err != nil {
		return deploy.Options{}, err
	}
	var v values
	if err := json.Unmarshal(text, &v); err != nil {
		return deploy.Options{}, err
	}
	o := deploy.Options{Rules: rules, Config: config, Engine: deploy.Engine(v.Engine), Guard: deploy.Guard(v.Guard), FailurePolicy: v.FailurePolicy, Pods: v.pods()}
	if o.Engine == deploy.Policy {
		return o, nil // it has no pods, so their values have no effect
	}
	o.Replicas = v.Replicas
	if v.CertManager.Enabled {
		o.Overlays = append(o.Overlays, "cert-manager")
	}
	if v.HostNetwork {
		o.Overlays = append(o.Overlays, "host-network")
	}
	if v.Monitoring.PodMonitor || v.Monitoring.PrometheusRule || v.Monitoring.Dashboard {
		o.Overlays = append(o.Overlays, deploy.Monitoring)
	}
	o.Image, err = v.image(rules)
	return o, err
}

func (v values) pods() *deploy.Pods {
	p := &deploy.Pods{
		ImagePullPolicy: v.Image.PullPolicy, ImagePullSecrets: v.ImagePullSecrets, Resources: v.Resources,
		NodeSelector: v.NodeSelector, Tolerations: v.Tolerations, Affinity: v.Affinity,
		TopologySpreadConstraints: v.TopologySpreadConstraints, PriorityClassName: v.PriorityClassName,
		Labels: v.PodLabels, Annotations: v.PodAnnotations, CommonLabels: v.CommonLabels,
		NoNetworkPolicy: !v.NetworkPolicy.Enabled, NoScrapeAnnotations: !v.Monitoring.ScrapeAnnotations,
		NoPodMonitor: !v.Monitoring.PodMonitor, NoPrometheusRule: !v.Monitoring.PrometheusRule, NoDashboard: !v.Monitoring.Dashboard,
		MonitoringLabels: v.Monitoring.Labels,
	}
	if v.PodDisruptionBudget.Enabled {
		p.MaxUnavailable = v.PodDisruptionBudget.MaxUnavailable
	}
	return p
}

// image returns the webhook's image: by default this version's, in the registry. A
// digest alone is enough to name an image, and wins over a tag that is given, too.
func (v values) image(r *rewrite.Rules) (string, error) {
	image, err := deploy.WebhookImage(r)
	if err != nil {
		return "", err
	}
	repository, tag := image[:strings.LastIndex(image, ":")], image[strings.LastIndex(image, ":"):]
	if v.Image.Repository != "" {
		repository = v.Image.Repository
	}
	switch {
	case v.Image.Tag != "":
		tag = ":" + v.Image.Tag
	case v.Image.Digest != "":
		tag = ""
	}
	if v.Image.Digest != "" {
		tag += "@" + v.Image.Digest
	}
	return repository + tag, nil
}

// configText returns the values of the configuration as privatelink.yaml. The chart's
// helper privatelink.config writes the same text.
func configText(all map[string]any) ([]byte, error) {
	var out strings.Builder
	out.WriteString("apiVersion: " + rewrite.APIVersion + "\nkind: " + rewrite.Kind + "\n")
	for _, key := range configKeys() {
		value := all[key]
		if m, ok := value.(map[string]any); ok && len(m) == 0 {
			continue
		}
		text, err := json.Marshal(value)
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(&out, "%s: %s\n", key, text)
	}
	// Helm cuts what ends a template, and with it the end of the last line.
	return []byte(strings.TrimSuffix(out.String(), "\n")), nil
}

// read returns the values of a file over the defaults, as Helm merges them, after
// they have been validated.
func read(file string, text []byte) (map[string]any, error) {
	defaults, err := defaults()
	if err != nil {
		return nil, err
	}
	given := map[string]any{}
	if err := yaml.UnmarshalStrict(text, &given); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	all := merge(defaults, given)
	fill(all, defaults, 2)
	if err := validate(all); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return all, nil
}

func defaults() (map[string]any, error) {
	text, err := files.ReadFile(Name + "/values.yaml")
	if err != nil {
		return nil, err
	}
	all := map[string]any{}
	if err := yaml.UnmarshalStrict(text, &all); err != nil {
		return nil, fmt.Errorf("values.yaml of the chart: %w", err)
	}
	return all, nil
}

// merge returns what Helm makes of defaults and given values: objects are merged,
// all else is replaced, and null removes.
func merge(defaults, given map[string]any) map[string]any {
	all := maps.Clone(defaults)
	for key, value := range given {
		of, isObject := all[key].(map[string]any)
		with, both := value.(map[string]any)
		switch {
		case value == nil:
			delete(all, key)
		case isObject && both:
			all[key] = merge(of, with)
		default:
			all[key] = value
		}
	}
	return all
}

// fill sets what is missing at the top level, and in sections such as image, as the
// chart's helper privatelink.fill does.
func fill(all, defaults map[string]any, levels int) {
	for key, value := range defaults {
		section, isSection := all[key].(map[string]any)
		of, ok := value.(map[string]any)
		if _, has := all[key]; !has {
			all[key] = value
		} else if isSection && ok && levels > 1 && slices.Contains(sections(), key) {
			fill(section, of, levels-1)
		}
	}
}

// sections are the values that have values of the chart below them. Other objects
// have the form of an object of Kubernetes or of the user's choice.
func sections() []string {
	return []string{"image", "podDisruptionBudget", "networkPolicy", "certManager", "monitoring"}
}

// validate validates values by the chart's schema, as Helm does.
func validate(all map[string]any) error {
	text, err := files.ReadFile(Name + "/values.schema.json")
	if err != nil {
		return err
	}
	schema, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return fmt.Errorf("values.schema.json: %w", err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("values.schema.json", schema); err != nil {
		return fmt.Errorf("values.schema.json: %w", err)
	}
	compiled, err := c.Compile("values.schema.json")
	if err != nil {
		return fmt.Errorf("values.schema.json: %w", err)
	}
	if err := compiled.Validate(all); err != nil {
		_, faults, _ := strings.Cut(err.Error(), "\n") // after a title
		faults = strings.ReplaceAll(strings.TrimPrefix(faults, "- "), "\n- ", "; ")
		return fmt.Errorf("values.schema.json refuses the values: %s", faults)
	}
	return nil
}
