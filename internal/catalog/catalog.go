// SPDX-License-Identifier: Apache-2.0

// Package catalog makes one list of the images that CAST AI needs, whatever
// told of them: the embedded catalogue, manifests, charts or a live cluster.
//
// It is pure: the packages below it read clusters and charts and hand over what
// they found. Two spellings of one image become one entry, because entries are
// told apart by where the rules send them. Nothing is guessed: a tag that
// nobody knows stays unknown, and an image that no rule maps stays in the list
// with the reason.
package catalog

import (
	"fmt"
	"strings"

	"github.com/castai/privatelink-webhook/internal/rewrite"
)

// From is the kind of source that named an image.
type From string

// The sources. Their order here is the order in which the origins of an image
// are listed.
const (
	Catalogue From = "catalogue" // a row of the embedded catalogue
	Manifest  From = "manifest"  // a manifest, by file and line
	Chart     From = "chart"     // a rendered Helm chart
	Workload  From = "workload"  // the template of a workload in the cluster
	Release   From = "release"   // what Helm stored of a release, its hooks included
	Pod       From = "pod"       // a pod in the cluster
	Rule      From = "rule"      // no one named it: it follows from another image
	Bundle    From = "bundle"    // the webhook's own install bundle
)

// Origin is one place that names an image.
type Origin struct {
	From From `json:"from"`
	// Name is the component of the catalogue, the file, the chart's template,
	// the release, the namespace, or the image that a rule started from.
	Name string `json:"name"`
	// Line is where in the file, 0 where lines mean nothing.
	Line int `json:"line,omitempty"`
	// Object is the place inside, such as "Deployment castai-agent"; for the
	// catalogue the sets that bring the image.
	Object string `json:"object,omitempty"`
}

// String is the origin for people: "agent.yaml:12 Deployment castai-agent".
func (o Origin) String() string {
	at := o.Name
	if o.Line > 0 {
		at = fmt.Sprintf("%s:%d", at, o.Line)
	}
	if o.Object != "" {
		at += " " + o.Object
	}
	if o.From == Manifest {
		return at
	}
	return string(o.From) + " " + at
}

// Image is one entry of the list: one name in the private registry and the
// public image that belongs there. The JSON fields are stable.
type Image struct {
	// Source is the public reference in full, castai/x as docker.io/castai/x, with
	// tag and digest as they were named. It equals Target where no public source
	// is known or none is needed.
	Source string `json:"source"`
	// Also are other spellings of the same image, such as its name in the
	// vendor's second registry.
	Also []string `json:"also,omitempty"`
	// Target is the reference in the private registry.
	Target string `json:"target"`
	// Outcome, Reason and Rule are the answer of the rules for Source.
	Outcome rewrite.Outcome `json:"outcome"`
	Reason  rewrite.Reason  `json:"reason,omitempty"`
	Rule    string          `json:"rule"`
	// Copy says that Source is to be copied to Target. If false, Note or Reason
	// says why not.
	Copy bool `json:"copy"`
	// Derived says that nothing names the image, and a rule says that it will
	// be asked for.
	Derived bool `json:"derived"`
	// Note is what a person should know of the entry.
	Note string `json:"note,omitempty"`
	// Origins are all places that name the image, sorted.
	Origins []Origin `json:"origins"`
}

// Unmapped reports whether the image has no place in the private registry: what
// makes the command line fail.
func (i Image) Unmapped() bool { return i.Outcome == rewrite.Unmapped }

// The notes that the list itself writes.
const (
	noteNoTag   = "no tag is known: see the chart (--chart), the cluster (--cluster) or the console"
	notePrivate = "already private: its public source is not known from here"
	noteKept    = "left alone: the configuration says so, or only the node itself can serve it"
	noteWebhook = "the webhook itself: push it with make push, it is not mirrored"
)

// base is the last part of a repository's path.
func base(repository string) string {
	return repository[strings.LastIndexByte(repository, '/')+1:]
}
