// SPDX-License-Identifier: Apache-2.0

package chart

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"path"
	"strings"
	"testing"

	certmanagerv1 "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	"helm.sh/helm/v4/pkg/chart/common"
	commonutil "helm.sh/helm/v4/pkg/chart/common/util"
	v2 "helm.sh/helm/v4/pkg/chart/v2"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	chartutil "helm.sh/helm/v4/pkg/chart/v2/util"
	"helm.sh/helm/v4/pkg/engine"
	releaseutil "helm.sh/helm/v4/pkg/release/v1/util"
	admissionregv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	yamlutil "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"
)

const registry = "123456789012.dkr.ecr.us-east-1.amazonaws.com/castai"

// A release is what helm install is told. The zero value has the defaults of the docs.
type release struct {
	name, namespace string
	kubeVersion     string // "" for the newest that is supported
}

// load loads the archive, as Helm pulls it from a registry.
func load(t testing.TB) *v2.Chart {
	t.Helper()
	data, err := Archive()
	if err != nil {
		t.Fatal(err)
	}
	c, err := loader.LoadArchive(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// helmTemplate renders the chart as helm template does. The result is by template.
func helmTemplate(c *v2.Chart, values map[string]any, r release) (map[string]string, error) {
	if r.name == "" {
		r.name = Name
	}
	if r.namespace == "" {
		r.namespace = "castai-privatelink"
	}
	if r.kubeVersion == "" {
		r.kubeVersion = "v1.37.0"
	}
	if err := chartutil.ValidateReleaseName(r.name); err != nil {
		return nil, err
	}
	kube, err := common.ParseKubeVersion(r.kubeVersion)
	if err != nil {
		return nil, err
	}
	for _, version := range []string{kube.String(), kube.Version} { // as Helm 4 and Helm 3 do
		if c.Metadata.KubeVersion != "" && !chartutil.IsCompatibleRange(c.Metadata.KubeVersion, version) {
			return nil, fmt.Errorf("chart requires kubeVersion: %s which is incompatible with Kubernetes %s", c.Metadata.KubeVersion, version)
		}
	}
	if err := chartutil.ProcessDependencies(c, values); err != nil {
		return nil, err
	}
	caps := common.DefaultCapabilities.Copy()
	caps.KubeVersion = *kube
	top, err := commonutil.ToRenderValues(c, values, common.ReleaseOptions{Name: r.name, Namespace: r.namespace, Revision: 1, IsInstall: true}, caps)
	if err != nil {
		return nil, err
	}
	return engine.Engine{}.RenderWithContext(context.Background(), c, top)
}

// helmObjects renders the chart, and returns its objects.
func helmObjects(t testing.TB, c *v2.Chart, values map[string]any, r release) map[string]map[string]any {
	t.Helper()
	files, err := helmTemplate(c, values, r)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]map[string]any{}
	for name, text := range files {
		if path.Base(name) == "NOTES.txt" {
			continue
		}
		for _, document := range releaseutil.SplitManifests(text) { // it cuts blanks and line breaks
			collect(t, all, name, document)
		}
	}
	return all
}

// collect adds the objects of a stream of documents. An object that is there twice is
// an error.
func collect(t testing.TB, all map[string]map[string]any, from, text string) {
	t.Helper()
	documents := yamlutil.NewYAMLReader(bufio.NewReader(strings.NewReader(text)))
	for {
		document, err := documents.Read()
		if err == io.EOF {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		var object map[string]any
		if err := yaml.UnmarshalStrict(document, &object); err != nil {
			t.Fatalf("%s: %v\n%s", from, err, document)
		}
		if len(object) == 0 {
			continue
		}
		if object["kind"] == "List" { // kubectl and Helm apply its items
			for _, item := range object["items"].([]any) {
				add(t, all, from, item.(map[string]any))
			}
			continue
		}
		add(t, all, from, object)
	}
}

func add(t testing.TB, all map[string]map[string]any, from string, object map[string]any) {
	t.Helper()
	metadata := object["metadata"].(map[string]any)
	key := fmt.Sprint(object["apiVersion"], " ", object["kind"], " ", metadata["namespace"], " ", metadata["name"])
	if all[key] != nil {
		t.Errorf("%s: %s stands twice", from, key)
	}
	all[key] = object
}

// decode decodes an object strictly: unknown and repeated fields, and wrong types,
// are errors. TestKubeconform checks the objects of the Prometheus operator, whose types
// are in no module that the program needs.
func decode(t testing.TB, object map[string]any) {
	t.Helper()
	if object["apiVersion"] == "monitoring.coreos.com/v1" {
		return
	}
	scheme := runtime.NewScheme()
	types := runtime.NewSchemeBuilder(certmanagerv1.AddToScheme, admissionregv1.AddToScheme, appsv1.AddToScheme, corev1.AddToScheme, networkingv1.AddToScheme, policyv1.AddToScheme, rbacv1.AddToScheme)
	if err := types.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	text, err := yaml.Marshal(object)
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = serializer.NewCodecFactory(scheme, serializer.EnableStrict).UniversalDeserializer().Decode(text, nil, nil)
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
}
