// SPDX-License-Identifier: Apache-2.0

package rewrite_test

import (
	"fmt"

	"github.com/castai/privatelink-webhook/internal/rewrite"
)

func ExampleRules_Image() {
	rules, err := rewrite.New(rewrite.Config{Registry: "123456789012.dkr.ecr.us-east-1.amazonaws.com/castai"})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, ref := range []string{"us-docker.pkg.dev/castai-hub/library/agent:v1", "nginx", "Not an image"} {
		r := rules.Image(ref)
		fmt.Println(r.Outcome, r.Target)
	}
	// Output:
	// rewritten 123456789012.dkr.ecr.us-east-1.amazonaws.com/castai/agent:v1
	// rewritten 123456789012.dkr.ecr.us-east-1.amazonaws.com/castai/docker.io/library/nginx
	// unmapped Not an image
}

func ExampleParseReference() {
	ref, err := rewrite.ParseReference("nginx:1.29")
	fmt.Println(ref.Host(), ref.Repository, ref.Tag, err)
	// Output: docker.io docker.io/library/nginx 1.29 <nil>
}
