// SPDX-License-Identifier: Apache-2.0

// Package schemas writes the schemas by which kubeconform checks manifests.
//
// They come from modules that other tests need as well: Kubernetes publishes its OpenAPI
// documents in its own, and the others their custom resource definitions.
package schemas

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"sigs.k8s.io/yaml"
)

// Location is the template by which kubeconform finds the schemas in dir.
func Location(dir string) string { return dir + "/{{.ResourceKind}}{{.KindSuffix}}.json" }

// Write writes a schema for each kind of Kubernetes, of cert-manager and of the Prometheus operator into dir. root is
// the product's folder. No schema allows a field that it does not know, as the API server
// with --validate=strict.
func Write(ctx context.Context, root, dir string) error {
	kubernetes, err := module(ctx, filepath.Join(root, "test", "e2e", "framework", "cluster", "kube"), "k8s.io/kubernetes")
	if err != nil {
		return err
	}
	certManager, err := module(ctx, root, "github.com/cert-manager/cert-manager")
	if err != nil {
		return err
	}
	operator, err := Operator(ctx, root)
	if err != nil {
		return err
	}
	for _, kind := range []string{"podmonitors", "prometheusrules"} {
		if err := each(filepath.Join(operator, "monitoring.coreos.com_"+kind+".yaml"), func(text []byte) error { return writeDefinition(dir, text) }); err != nil {
			return err
		}
	}
	if err := each(filepath.Join(kubernetes, "api", "openapi-spec", "v3", "*_openapi.json"), func(text []byte) error { return writeDocument(dir, text) }); err != nil {
		return err
	}
	return each(filepath.Join(certManager, "deploy", "crds", "*.yaml"), func(text []byte) error { return writeDefinition(dir, text) })
}

// Operator returns the folder with the custom resource definitions of the Prometheus
// operator. root is the product's folder.
func Operator(ctx context.Context, root string) (string, error) {
	dir, err := module(ctx, filepath.Join(root, "internal", "testutil", "schemas", "monitoring"), "github.com/prometheus-operator/prometheus-operator")
	return filepath.Join(dir, "example", "prometheus-operator-crd"), err
}

// module returns the folder of a module that the module in dir requires.
func module(ctx context.Context, dir, path string) (string, error) {
	cmd := exec.CommandContext(ctx, "go", "mod", "download", "-json", path)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "GOWORK=off")
	out, err := cmd.Output()
	var found struct{ Dir, Error string }
	if decoding := json.Unmarshal(out, &found); decoding == nil && found.Error != "" {
		return "", fmt.Errorf("downloading the module %s: %s", path, found.Error)
	}
	if err != nil {
		return "", fmt.Errorf("downloading the module %s: %w", path, err)
	}
	return found.Dir, nil
}

func each(pattern string, do func(text []byte) error) error {
	files, err := filepath.Glob(pattern)
	if err != nil {
		return err
	}
	if len(files) == 0 {
		return fmt.Errorf("no file is named like %s", pattern)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err == nil {
			err = do(text)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
	}
	return nil
}

// A kind is what x-kubernetes-group-version-kind names.
type kind struct{ Group, Version, Kind string }

// file is the name that kubeconform gives the schema of a kind.
func (k kind) file() string {
	parts := []string{k.Kind, k.Version}
	if k.Group != "" {
		group, _, _ := strings.Cut(k.Group, ".")
		parts = []string{k.Kind, group, k.Version}
	}
	return strings.ToLower(strings.Join(parts, "-")) + ".json"
}

// writeDocument writes the kinds of an OpenAPI document, each with all its components.
func writeDocument(dir string, text []byte) error {
	var document struct {
		Components struct{ Schemas map[string]any }
	}
	if err := json.Unmarshal(text, &document); err != nil {
		return err
	}
	closed(document.Components.Schemas) // all of them, before one is written with the others
	for name, schema := range document.Components.Schemas {
		kinds, err := kindsOf(schema)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if len(kinds) != 1 { // options and status have the groups of all APIs
			continue
		}
		if err := write(dir, kinds[0], map[string]any{"$ref": "#/components/schemas/" + name, "components": map[string]any{"schemas": document.Components.Schemas}}); err != nil {
			return err
		}
	}
	return nil
}

func kindsOf(schema any) (kinds []kind, err error) {
	text, err := json.Marshal(schema.(map[string]any)["x-kubernetes-group-version-kind"])
	if err == nil {
		err = json.Unmarshal(text, &kinds)
	}
	return kinds, err
}

func writeDefinition(dir string, text []byte) error {
	var crd struct {
		Spec struct {
			Group    string
			Names    struct{ Kind string }
			Versions []struct {
				Name   string
				Schema struct{ OpenAPIV3Schema map[string]any }
			}
		}
	}
	if err := yaml.Unmarshal(text, &crd); err != nil {
		return err
	}
	for _, v := range crd.Spec.Versions {
		closed(v.Schema.OpenAPIV3Schema)
		if err := write(dir, kind{crd.Spec.Group, v.Name, crd.Spec.Names.Kind}, v.Schema.OpenAPIV3Schema); err != nil {
			return err
		}
	}
	return nil
}

// closed has every object of the schema refuse fields that it does not name.
func closed(schema any) {
	switch of := schema.(type) {
	case []any:
		for _, v := range of {
			closed(v)
		}
	case map[string]any:
		for _, v := range of {
			closed(v)
		}
		_, named := of["properties"].(map[string]any)
		_, open := of["additionalProperties"]
		if named && !open && of["x-kubernetes-preserve-unknown-fields"] != true {
			of["additionalProperties"] = false
		}
	}
}

func write(dir string, k kind, schema any) error {
	text, err := json.Marshal(schema)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, k.file()), text, 0o600)
}
