// SPDX-License-Identifier: Apache-2.0

package webhook_test

import (
	"fmt"

	"github.com/castai/privatelink-webhook/internal/rewrite"
	"github.com/castai/privatelink-webhook/webhook"
)

func ExamplePatcher_Create() {
	rules, err := rewrite.New(rewrite.Config{Registry: "123456789012.dkr.ecr.us-east-1.amazonaws.com/castai"})
	if err != nil {
		fmt.Println(err)
		return
	}
	pod := `{"metadata": {"name": "p"}, "spec": {"containers": [{"name": "agent", "image": "ghcr.io/castai/images/agent:v1"}, {"name": "bad", "image": "Not an image"}]}}`
	patch, report := webhook.NewPatcher(rules).Create([]byte(pod))
	fmt.Println(string(patch))
	fmt.Println(report.Changed(), "of", len(report.Images))
	fmt.Println(report.Warning())
	// Output:
	// [{"op":"replace","path":"/spec/containers/0/image","value":"123456789012.dkr.ecr.us-east-1.amazonaws.com/castai/agent:v1"},{"op":"add","path":"/metadata/annotations","value":{"privatelink.cast.ai/original-images":"{\"containers/agent\":\"ghcr.io/castai/images/agent:v1\"}"}}]
	// 1 of 2
	// privatelink: 1 not rewritten: "Not an image": not an image reference
}
