// SPDX-License-Identifier: Apache-2.0

// Package catalog lists the images that CAST AI needs. They come from the
// embedded catalog, manifests, charts or a live cluster.
//
// The package does no I/O: the packages below it read clusters and charts and add
// what they find. Entries are identified by their target in the private registry,
// so two spellings of one image are one entry. Nothing is guessed: an unknown tag
// stays unknown, and an image that no rule maps is listed with the reason.
package catalog

import (
	"fmt"
	"strings"

	"github.com/castai/privatelink-webhook/internal/rewrite"
)

// From is the kind of source that names an image.
type From string

// The sources. Their order here is the order in which the origins of an image
// are listed.
const (
	Embedded From = "catalog"  // a row of the embedded catalog
	Manifest From = "manifest" // a manifest, by file and line
	Chart    From = "chart"    // a rendered Helm chart
	Workload From = "workload" // the template of a workload in the cluster
	Release  From = "release"  // what Helm stored of a release, its hooks included
	Pod      From = "pod"      // a pod in the cluster
	Rule     From = "rule"     // derived from another image
	Bundle   From = "bundle"   // the webhook's own install bundle
)

// Origin is one source that names an image.
type Origin struct {
	From From `json:"from"`
	// Name is the component of the embedded catalog, the file, the chart's template,
	// the release, the namespace, or the image that a rule started from.
	Name string `json:"name"`
	// Line is where in the file, 0 where lines mean nothing.
	Line int `json:"line,omitempty"`
	// Object is the object inside, such as "Deployment castai-agent"; for the
	// embedded catalog the sets that install the image.
	Object string `json:"object,omitempty"`
}

// String formats the origin for a table: "agent.yaml:12 Deployment castai-agent".
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

// Entry is one image of the list: one name in the private registry and the
// public image that belongs there. The JSON fields are stable.
type Entry struct {
	// Source is the public reference in full, castai/x as docker.io/castai/x, with
	// tag and digest as they were named. It equals Target where no public source
	// is known or none is needed.
	Source string `json:"source"`
	// Also are other spellings of the same image, such as its name in the
	// vendor's second registry.
	Also []string `json:"also,omitempty"`
	// Target is the reference in the private registry.
	Target string `json:"target"`
	// Outcome, Reason and Rule are the result of mapping Source.
	Outcome rewrite.Outcome `json:"outcome"`
	Reason  rewrite.Reason  `json:"reason,omitempty"`
	Rule    string          `json:"rule"`
	// Copy is true if Source is to be copied to Target. Otherwise Note or Reason
	// has the reason.
	Copy bool `json:"copy"`
	// Carried is true if releases of this command have the image in them. No registry has
	// Source.
	Carried bool `json:"carried,omitempty"`
	// Derived is true if no source names the image, and it follows from another
	// entry that a component will request it.
	Derived bool `json:"derived"`
	// Note explains the entry to the user.
	Note string `json:"note,omitempty"`
	// Origins are all sources that name the image, sorted.
	Origins []Origin `json:"origins"`
}

// Unmapped reports whether the rules give the image no name in the private
// registry.
func (e Entry) Unmapped() bool { return e.Outcome == rewrite.Unmapped }

// The notes that the list itself writes.
const (
	noteNoTag   = "no tag is known: see the chart (--chart), the cluster (--cluster) or the console"
	notePrivate = "already private: its public source is not known from here"
	noteKept    = "not rewritten: the configuration keeps it, or only the node itself can serve it"
	noteWebhook = "the webhook itself"
	noteCarried = "the webhook itself, which a released privatelink carries"
)

// WebhookRule is the Entry.Rule of the webhook's own image.
const WebhookRule = "the webhook's own image"

// WebhookOrigin is what names the webhook's own image.
func WebhookOrigin() Origin { return Origin{From: Bundle, Name: "privatelink install"} }

// base is the last part of a repository's path.
func base(repository string) string {
	return repository[strings.LastIndexByte(repository, '/')+1:]
}
