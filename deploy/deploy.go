// SPDX-License-Identifier: Apache-2.0

// Package deploy renders the install bundle: the kustomize tree in this
// directory, which is embedded in the program.
//
// Rendering runs kustomize on the same files as kubectl apply -k, so the results
// are equal. The CEL expressions in the tree are generated from the default rules
// by package cel; a test compares them.
package deploy

import (
	"bytes"
	"cmp"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	admissionregv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/api/resmap"
	"sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	kyaml "sigs.k8s.io/kustomize/kyaml/yaml"
	"sigs.k8s.io/yaml"

	"github.com/castai/privatelink-webhook/internal/rewrite"
)

//go:embed kustomization.yaml base components guard policy
var tree embed.FS

// Names of the bundle's objects that other packages must agree on.
const (
	Namespace         = "castai-privatelink"
	Name              = "privatelink-webhook" // Deployment, Service, ConfigMap, ServiceAccount
	CASecret          = "privatelink-webhook-ca"
	ConfigurationName = "zz-privatelink-webhook"
	ConfigKey         = "privatelink.yaml"
	Image             = "privatelink-webhook"
	PolicyName        = "privatelink"       // MutatingAdmissionPolicy and its binding
	GuardName         = "privatelink-guard" // ValidatingAdmissionPolicy and its binding

	// ByLabel ends the names of the bindings that select namespaces by their labels.
	ByLabel           = "-by-label"
	AccountPolicyName = "privatelink-webhook-account" // the same, for the permissions of the ServiceAccount
)

// Overlays are the variants that Options.Overlays takes.
func Overlays() []string { return []string{"cert-manager", "host-network", Monitoring} }

// Monitoring is the overlay with the alerts, and DashboardName the ConfigMap with its
// dashboard.
const (
	Monitoring    = "monitoring"
	DashboardName = "privatelink-webhook-dashboard"
)

// Engine is what rewrites the pods.
type Engine string

// The engines. docs/reference/engines.md compares them.
const (
	Webhook Engine = "webhook" // a Deployment that the API server calls
	Policy  Engine = "policy"  // CEL inside the API server, from Kubernetes 1.36 on
)

// Engines are the choices, the default first.
func Engines() []Engine { return []Engine{Webhook, Policy} }

// Guard is the action of the guard on a pod that has a public image.
type Guard string

// The guard validates the pod as it would be stored, after every other change:
// it reports an injector behind the webhook, an outage of the webhook and a
// missing rule.
const (
	GuardWarn Guard = "warn" // the client is warned and the audit event annotated; the pod is created
	GuardDeny Guard = "deny" // the pod is rejected and the audit event annotated
	GuardOff  Guard = "off"  // the bundle has no guard
)

// Guards are the choices, the default first.
func Guards() []Guard { return []Guard{GuardWarn, GuardDeny, GuardOff} }

// Options choose what is rendered. Rules are required.
type Options struct {
	Rules *rewrite.Rules
	// Engine is Webhook if empty. Namespace, Overlays, Image and Replicas are for
	// Webhook only.
	Engine Engine
	// Guard is GuardWarn if empty.
	Guard Guard
	// Config is the text of the configuration file that Rules came from; empty
	// to render a file with nothing but the registry.
	Config []byte
	// Namespace of the webhook's objects; Namespace if empty.
	Namespace string
	// Overlays of the base, any of Overlays().
	Overlays []string
	// Image of the webhook with tag or digest; empty for the registry's own
	// copy of this version.
	Image string
	// FailurePolicy is Fail or Ignore; empty for the engine's default. The
	// webhook's is Fail: Ignore is for clusters that still reach the public
	// registries, where a pod may start unmapped while the webhook is down. The
	// policy's is Ignore: it has no outage, and the guard reports the pods that it
	// cannot evaluate, such as those with hundreds of containers.
	FailurePolicy string
	// Replicas of the webhook; 0 for the default of 2.
	Replicas int
	// Pods are further settings of the webhook's pods; nil for those of the bundle.
	Pods *Pods
}

// Render returns the manifests of the bundle, in the order to apply them. Calls must
// not be concurrent, because kustomize reads a global map without a lock.
func Render(o Options) ([]byte, error) {
	out, err := build(o)
	if err != nil {
		return nil, err
	}
	return out.AsYaml()
}

// Objects returns the objects of the bundle with their Kubernetes types, in the
// order of Render. Custom resources are *unstructured.Unstructured.
func Objects(o Options) ([]runtime.Object, error) {
	out, err := build(o)
	if err != nil {
		return nil, err
	}
	scheme := runtime.NewScheme()
	types := runtime.NewSchemeBuilder(admissionregv1.AddToScheme, appsv1.AddToScheme, corev1.AddToScheme, networkingv1.AddToScheme, policyv1.AddToScheme, rbacv1.AddToScheme)
	if err := types.AddToScheme(scheme); err != nil {
		return nil, fmt.Errorf("render: %w", err)
	}
	decoder := serializer.NewCodecFactory(scheme, serializer.EnableStrict).UniversalDeserializer()
	all := make([]runtime.Object, out.Size())
	for i, r := range out.Resources() {
		text, err := r.MarshalJSON()
		if err != nil {
			return nil, fmt.Errorf("render: %w", err)
		}
		all[i], _, err = decoder.Decode(text, nil, nil)
		if runtime.IsNotRegisteredError(err) {
			all[i], _, err = unstructured.UnstructuredJSONScheme.Decode(text, nil, nil)
		}
		if err != nil {
			return nil, fmt.Errorf("render: %s: %w", r.CurId(), err)
		}
	}
	return all, nil
}

// WebhookRepository returns the repository of the webhook's own image.
func WebhookRepository(r *rewrite.Rules) string { return r.Registry() + "/" + Image }

// WebhookImage returns the image, with its tag, that the bundle runs by default. It reads
// the tag in the tree, because rendering takes longer than all else that most commands do
// before their first request.
func WebhookImage(r *rewrite.Rules) (string, error) {
	text, err := tree.ReadFile("base/deployment.yaml")
	if err != nil {
		return "", fmt.Errorf("read the webhook's version: %w", err)
	}
	var d appsv1.Deployment
	if err := yaml.UnmarshalStrict(text, &d); err != nil {
		return "", fmt.Errorf("read the webhook's version: %w", err)
	}
	return WebhookRepository(r) + ":" + rewrite.SplitReference(d.Spec.Template.Spec.Containers[0].Image).Tag, nil
}

func build(o Options) (resmap.ResMap, error) {
	if o.Rules == nil {
		return nil, errors.New("render: no rules")
	}
	disk := filesys.MakeFsInMemory()
	err := fs.WalkDir(tree, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := tree.ReadFile(path)
		if err != nil {
			return err
		}
		return disk.WriteFile(bundle+"/"+path, data)
	})
	if err != nil {
		return nil, fmt.Errorf("render: %w", err)
	}
	if err := edit(disk, o); err != nil {
		return nil, fmt.Errorf("render: %w", err)
	}
	out, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(disk, "/")
	if err != nil {
		return nil, fmt.Errorf("render: %w", err)
	}
	for _, r := range out.Resources() {
		namespacesAreTexts(r.YNode())
	}
	return out, nil
}

// namespacesAreTexts makes texts of all fields namespace: kustomize writes a namespace
// named 123 as a number.
func namespacesAreTexts(n *kyaml.Node) {
	for i, child := range n.Content {
		if n.Kind == kyaml.MappingNode && i%2 == 1 && n.Content[i-1].Value == "namespace" && child.Kind == kyaml.ScalarNode {
			child.Tag = kyaml.NodeTagString
		}
		namespacesAreTexts(child)
	}
}

// bundle is where the tree lies in memory.
const bundle = "/bundle"

// edit sets in the top-level kustomization what its comments describe, and wraps it
// in another one that has the patches. Patches inside would be applied before the
// registry is filled in.
func edit(disk filesys.FileSystem, o Options) error {
	data, err := disk.ReadFile(bundle + "/kustomization.yaml")
	if err != nil {
		return err
	}
	var k types.Kustomization
	if err := yaml.Unmarshal(data, &k); err != nil {
		return err
	}
	if err := o.check(); err != nil {
		return err
	}
	k.ConfigMapGenerator[0].LiteralSources = []string{"registry=" + o.Rules.Registry()}
	k.Components = append(k.Components, o.components()...)
	if o.Engine == Policy {
		k.Resources = []string{"policy"}
	}
	if o.Namespace != "" && o.Namespace != Namespace {
		// Below the components: they copy the namespace.
		inner := types.Kustomization{Namespace: o.Namespace, Resources: []string{"../" + k.Resources[0]}}
		if err := write(disk, bundle+"/namespace/kustomization.yaml", inner); err != nil {
			return err
		}
		k.Resources = []string{"namespace"}
	}
	if err := setAlertNamespaces(disk, o.Rules.Namespaces()); err != nil {
		return err
	}
	outer := types.Kustomization{Resources: []string{"bundle"}}
	if outer.Patches, err = patches(o); err != nil {
		return err
	}
	if o.Pods != nil {
		if err := o.Pods.apply(&outer); err != nil {
			return err
		}
	}
	return errors.Join(write(disk, bundle+"/kustomization.yaml", k), write(disk, "/kustomization.yaml", outer))
}

// components returns the components of the tree that the options select.
func (o Options) components() (components []string) {
	for _, overlay := range Overlays() { // the order in which they fit together
		if slices.Contains(o.Overlays, overlay) {
			components = append(components, "components/"+overlay)
		}
	}
	if !o.Rules.NamespaceSelector().IsEmpty() {
		component := "components/namespace-selector"
		if o.Engine == Policy {
			component += "-policy"
		}
		components = append(components, component)
	}
	if o.Guard == GuardDeny || o.Guard == GuardOff {
		components = append(components, "components/guard-"+string(o.Guard))
	}
	return components
}

// setAlertNamespaces has the alerts on pods select the namespaces. Names of namespaces
// have no special characters of regular expressions.
func setAlertNamespaces(disk filesys.FileSystem, namespaces []string) error {
	const file = bundle + "/components/monitoring/rules.yaml"
	text, err := disk.ReadFile(file)
	if err != nil {
		return err
	}
	return disk.WriteFile(file, bytes.ReplaceAll(text, []byte(`namespace=~"castai-agent"`), []byte(`namespace=~"`+strings.Join(namespaces, "|")+`"`)))
}

// MaxReplicas is the largest number of replicas. The webhook needs two or three;
// more are a typing error.
const MaxReplicas = 100

// check refuses options that are invalid or exclude each other.
func (o Options) check() error {
	if o.Image != "" {
		if _, err := rewrite.ParseReference(o.Image); err != nil {
			return fmt.Errorf("image %q: %w: give it as REPOSITORY:TAG or REPOSITORY@DIGEST, without a scheme", o.Image, err)
		}
	}
	for _, overlay := range o.Overlays {
		if !slices.Contains(Overlays(), overlay) {
			return fmt.Errorf("overlay %q: there are only %s", overlay, strings.Join(Overlays(), ", "))
		}
	}
	switch {
	case o.Engine != "" && !slices.Contains(Engines(), o.Engine):
		return fmt.Errorf("engine %q: there are only webhook and policy", o.Engine)
	case o.Guard != "" && !slices.Contains(Guards(), o.Guard):
		return fmt.Errorf("guard %q: there are only warn, deny and off", o.Guard)
	case o.FailurePolicy != "" && o.FailurePolicy != "Fail" && o.FailurePolicy != "Ignore":
		return fmt.Errorf("failure policy %q: there are only Fail and Ignore", o.FailurePolicy)
	case o.Engine == Policy && (o.Namespace != "" || len(o.Overlays) > 0 || o.Image != "" || o.Replicas > 0):
		return errors.New("engine policy has no pods: leave out namespace, overlays, image and replicas")
	case o.Replicas < 0 || o.Replicas > MaxReplicas:
		return fmt.Errorf("replicas %d: use 1 to %d", o.Replicas, MaxReplicas)
	case slices.Contains(o.Rules.Namespaces(), cmp.Or(o.Namespace, Namespace)):
		return fmt.Errorf("namespace %q: the webhook would be called for its own pods: choose a namespace that the configuration does not list", o.Namespace)
	}
	return nil
}

func write(disk filesys.FileSystem, path string, k types.Kustomization) error {
	data, err := yaml.Marshal(k)
	if err != nil {
		return err
	}
	return disk.WriteFile(path, data)
}
