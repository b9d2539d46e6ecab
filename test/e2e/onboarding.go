// SPDX-License-Identifier: Apache-2.0

// Package e2e holds the workloads that stand for an onboarding, and the tests
// that try the shipped bundle with them on a real control plane:
//
//	go test -count=1 -timeout 30m -tags e2e ./test/e2e/...
//
// The workloads are written from what the vendor publishes: the names, images
// and tags, and the shape of the objects as far as it matters to an admission
// webhook.
package e2e

import (
	"bytes"
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	utilyaml "k8s.io/apimachinery/pkg/util/yaml"

	"github.com/castai/privatelink-webhook/test/e2e/framework/harness"
)

// Namespace is where the vendor's workloads go.
const Namespace = "castai-agent"

//go:embed testdata/onboarding/*.yaml
var onboarding embed.FS

// Onboard applies the workloads in the order of an onboarding and does what
// happens after it: the console scales, a CronJob is due, a user debugs. It
// returns when all pods are there. Another namespace gets the same, but for its
// name.
func Onboard(ctx context.Context, h *harness.Harness, namespace string, progress func(string)) error {
	files, err := fs.Glob(onboarding, "testdata/onboarding/*.yaml")
	if err != nil {
		return err
	}
	for _, f := range files {
		text, err := onboarding.ReadFile(f)
		if err != nil {
			return err
		}
		if text, err = into(namespace, text); err != nil {
			return fmt.Errorf("%s: %w", f, err)
		}
		progress("kubectl apply -f test/e2e/" + f)
		// An older API server does not have all the fields; it says so and goes on.
		if _, err := h.Kubectl(ctx, bytes.NewReader(text), "apply", "--validate=warn", "-f", "-"); err != nil {
			return fmt.Errorf("%s: %w", f, err)
		}
	}
	for _, command := range [][]string{
		{"scale", "deployment/castai-pod-pinner", "--replicas=2"},
		{"create", "job", "hibernate-resume-now", "--from=cronjob/hibernate-resume"},
		{"debug", "pod/toolbox", "--image=" + DebugImage, "--target=sleep", "--container=debugger", "--attach=false", "--quiet"},
	} {
		progress("kubectl " + strings.Join(command, " "))
		if _, err := h.Kubectl(ctx, nil, append(command, "--namespace="+namespace)...); err != nil {
			return err
		}
	}
	return h.AwaitPods(ctx, namespace)
}

// DebugImage is what Onboard debugs with. No annotation can keep the source of
// an ephemeral container.
const DebugImage = "busybox:1.37"

// into moves manifests to another namespace.
func into(namespace string, text []byte) ([]byte, error) {
	var out bytes.Buffer
	documents := utilyaml.NewYAMLOrJSONDecoder(bytes.NewReader(text), 4096)
	for {
		var object map[string]any
		if err := documents.Decode(&object); errors.Is(err, io.EOF) {
			return out.Bytes(), nil
		} else if err != nil {
			return nil, err
		}
		metadata, ok := object["metadata"].(map[string]any)
		if !ok {
			return nil, errors.New("a document without metadata")
		}
		if object["kind"] == "Namespace" {
			metadata["name"] = namespace
		} else {
			metadata["namespace"] = namespace
		}
		if err := json.NewEncoder(&out).Encode(object); err != nil {
			return nil, err
		}
	}
}
