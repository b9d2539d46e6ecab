// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"text/tabwriter"

	"github.com/castai/privatelink-webhook/internal/podspec"
	"github.com/castai/privatelink-webhook/internal/rewrite"
	"github.com/castai/privatelink-webhook/test/e2e"
)

var errPublic = errors.New("there are images that this cluster could not pull")

// report prints a line for each image reference of the pods, and a last one
// with the sums. It fails if one is public.
func report(w io.Writer, rules *rewrite.Rules, pods []json.RawMessage) error {
	scanner := podspec.NewScanner(rules.EnvVars(), []string{podspec.OriginalImages})
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "POD\tCONTAINER\tSOURCE\tECR TARGET")
	images, public := map[string]bool{}, 0
	for _, raw := range pods {
		pod, err := scanner.Scan(raw)
		if err != nil {
			return err
		}
		originals, err := pod.OriginalImages()
		if err != nil {
			return fmt.Errorf("pod %s: %w", pod.Name, err)
		}
		for _, i := range pod.Images {
			if i.EnvIndex >= 0 && rules.EnvValue(i.Value).Reason == rewrite.NoHost {
				continue // a tag and no image
			}
			images[i.Value] = true
			note := ""
			if !private(rules, i.Value) {
				public++
				note = "  <- PUBLIC"
			}
			fmt.Fprintf(table, "%s\t%s\t%s\t%s%s\n", pod.Name, fieldName(i), short(source(i, originals)), short(i.Value), note)
		}
	}
	if err := table.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(w, "\n%d pods, %d images, %d public\n", len(pods), len(images), public)
	if public > 0 {
		return errPublic
	}
	return nil
}

// private tests the ECR host in addition to the rules: a rule that does not rewrite
// a public image would be a fault here.
func private(rules *rewrite.Rules, image string) bool {
	return ecr.MatchString(image) && !rules.Image(image).Changed()
}

var ecr = regexp.MustCompile(rewrite.ECRPattern)

func fieldName(i podspec.ImageField) string {
	switch {
	case i.EnvIndex >= 0:
		return i.Item + " ($" + i.Env + ")"
	case i.List == "containers":
		return i.Item
	case i.List == "volumes":
		return i.Item + " (volume)"
	}
	return i.Item + " (" + strings.TrimSuffix(i.List, "Containers") + ")"
}

func source(i podspec.ImageField, originals map[string]string) string {
	switch original := originals[i.Location()]; {
	case original != "":
		return original
	case i.List == "ephemeralContainers": // no annotation can keep theirs
		return e2e.DebugImage
	}
	return "(as it is)"
}

// short cuts digests.
func short(image string) string {
	if name, digest, ok := strings.Cut(image, "@"); ok && len(digest) > 19 {
		return name + "@" + digest[:19] + "..."
	}
	return image
}
