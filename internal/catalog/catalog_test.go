// SPDX-License-Identifier: Apache-2.0

package catalog

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/castai/privatelink-webhook/internal/rewrite"
)

const (
	ecr     = "123456789012.dkr.ecr.us-east-1.amazonaws.com/castai"
	gar     = "us-docker.pkg.dev/castai-hub/library"
	ghcr    = "ghcr.io/castai/images"
	digest  = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	carried = "privatelink.cast.ai/privatelink-webhook:v1"
	another = "602401143452.dkr.ecr.us-west-2.amazonaws.com/eks/pause:3.10"
)

func rules(t *testing.T, c rewrite.Config) *rewrite.Rules {
	t.Helper()
	if c.Registry == "" {
		c.Registry = ecr
	}
	r, err := rewrite.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

var here = Origin{From: Manifest, Name: "a.yaml", Line: 7, Object: "Pod a"}

// brief is what most tests compare of an image.
type brief struct {
	Source, Target string
	Copy, Derived  bool
	Note           string
}

func briefs(images []Entry) (out []brief) {
	for _, i := range images {
		out = append(out, brief{i.Source, strings.Replace(i.Target, ecr, "ECR", 1), i.Copy, i.Derived, i.Note})
	}
	return out
}

func TestList(t *testing.T) {
	copied := func(source, target string) brief { return brief{Source: source, Target: "ECR/" + target, Copy: true} }
	for name, tc := range map[string]struct {
		add    []string
		config rewrite.Config
		want   []brief
	}{
		"two spellings of one image are one entry, with the vendor's first registry as its source": {
			add:  []string{ghcr + "/agent:v1", gar + "/agent:v1", "us-east4-docker.pkg.dev/castai-hub/library/agent:v1"},
			want: []brief{copied(gar+"/agent:v1", "agent:v1")},
		},
		"a short name is spelled in full": {
			add: []string{"nginx:1", "docker.io/nginx:1", "index.docker.io/library/nginx:1"}, want: []brief{copied("docker.io/library/nginx:1", "docker.io/library/nginx:1")},
		},
		"tags are kept apart": {
			add: []string{gar + "/agent:v2", gar + "/agent:v1"}, want: []brief{copied(gar+"/agent:v1", "agent:v1"), copied(gar+"/agent:v2", "agent:v2")},
		},
		"a digest, and a tag with a digest, are kept to the letter": {
			add:  []string{gar + "/a@" + digest, gar + "/a:v1@" + digest},
			want: []brief{copied(gar+"/a:v1@"+digest, "a:v1@"+digest), copied(gar+"/a@"+digest, "a@"+digest)},
		},
		"no tag means latest, and none is invented": {
			add: []string{"quay.io/acme/x"}, want: []brief{copied("quay.io/acme/x", "quay.io/acme/x")},
		},
		"nothing is listed for an empty reference": {add: []string{""}},
		"the form of global.registry has its public source": {
			add:  []string{ecr + "/" + gar + "/agent:v1", ecr + "/quay.io/acme/x:1"},
			want: []brief{copied(gar+"/agent:v1", "agent:v1"), copied("quay.io/acme/x:1", "quay.io/acme/x:1")},
		},
		"a private image has no known source": {
			add:  []string{ecr + "/otel/ebpf-instrument:v1", another},
			want: []brief{{Source: ecr + "/otel/ebpf-instrument:v1", Target: "ECR/otel/ebpf-instrument:v1", Note: notePrivate}, {Source: another, Target: another, Note: notePrivate}},
		},
		"unless another source names it": {
			add: []string{ecr + "/agent:v1", ghcr + "/agent:v1"}, want: []brief{copied(ghcr+"/agent:v1", "agent:v1")},
		},
		"a kept image is not copied": {
			add: []string{"quay.io/acme/x:1"}, config: rewrite.Config{Keep: []string{"quay.io"}},
			want: []brief{{Source: "quay.io/acme/x:1", Target: "quay.io/acme/x:1", Note: noteKept}},
		},
		"an unmapped image is listed with the reason": {
			add: []string{"Not An Image"}, want: []brief{{Source: "Not An Image", Target: "Not An Image"}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			l := New(rules(t, tc.config))
			for _, ref := range tc.add {
				l.Add(ref, here)
			}
			if d := cmp.Diff(tc.want, briefs(l.Images())); d != "" {
				t.Errorf("-want +got\n%s", d)
			}
		})
	}
}

func TestUnmappedImagesHaveTheReason(t *testing.T) {
	l := New(rules(t, rewrite.Config{}))
	l.Add("X Y", here)
	i := l.Images()[0]
	if !i.Unmapped() || i.Outcome != rewrite.Unmapped || i.Reason != rewrite.Unparsable || i.Copy || i.Rule == "" {
		t.Errorf("%+v", i)
	}
}

func TestEveryOriginIsKeptOnceAndSorted(t *testing.T) {
	l := New(rules(t, rewrite.Config{}))
	at := func(f From, line int) Origin { return Origin{From: f, Name: "n", Line: line} }
	for _, o := range []Origin{at(Pod, 0), at(Manifest, 10), at(Manifest, 9), at(Embedded, 0), at(Pod, 0)} {
		l.Add(gar+"/agent:v1", o)
	}
	want := []Origin{at(Embedded, 0), at(Manifest, 9), at(Manifest, 10), at(Pod, 0)}
	if d := cmp.Diff(want, l.Images()[0].Origins); d != "" {
		t.Error(d)
	}
}

func TestOriginString(t *testing.T) {
	for want, o := range map[string]Origin{
		"a.yaml:7 Pod a":                    here,
		"catalog castai-agent (phase1)":     {From: Embedded, Name: "castai-agent", Object: "(phase1)"},
		"pod castai-agent Pod agent-1":      {From: Pod, Name: "castai-agent", Object: "Pod agent-1"},
		"bundle privatelink install":        {From: Bundle, Name: "privatelink install"},
		"chart agent/templates/hook.yaml J": {From: Chart, Name: "agent/templates/hook.yaml", Object: "J"},
	} {
		if got := o.String(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// The list does not depend on the order in which sources are read.
func TestTheOrderOfAddingDoesNotMatter(t *testing.T) {
	r := rules(t, rewrite.Config{})
	var adds []func(*List)
	for _, row := range Rows() {
		adds = append(adds, func(l *List) { l.addRow(row) })
	}
	for _, ref := range []string{ghcr + "/agent:v1", gar + "/agent:v1", ecr + "/agent:v1", "X Y", "nginx", "docker.io/library/nginx",
		gar + "/kvisor-controller:v9", ghcr + "/kvisor-controller@" + digest, gar + "/workload-autoscaler:v9", another} {
		adds = append(adds, func(l *List) { l.Add(ref, here) })
	}
	adds = append(adds, func(l *List) { l.AddEnv(jmxVariable, "quay.io/acme/jmx:1", here) }, func(l *List) { l.AddWebhook(carried, ecr+"/privatelink-webhook:v1", true) },
		func(l *List) { l.Add(ghcr+"/privatelink-webhook:v1", here) })
	var first []Entry
	for seed := range uint64(20) {
		l := New(r)
		for _, i := range rand.New(rand.NewPCG(seed, 1)).Perm(len(adds)) {
			adds[i](l)
		}
		images := l.Images()
		if seed == 0 {
			first = images
		}
		if d := cmp.Diff(first, images); d != "" {
			t.Fatalf("seed %d: -first +this\n%s", seed, d)
		}
		if d := cmp.Diff(images, l.Images()); d != "" {
			t.Fatalf("a second call returns another list:\n%s", d)
		}
	}
}

func TestTheWebhooksOwnImage(t *testing.T) {
	const private = ecr + "/privatelink-webhook:v1"
	for name, tc := range map[string]struct {
		source  string
		carried bool
		others  []string // other references to the same image
		want    brief
		also    []string
	}{
		"in the command":                  {carried, true, nil, brief{Source: carried, Note: noteCarried}, nil},
		"in a registry":                   {"quay.io/acme/webhook:approved", false, nil, brief{Source: "quay.io/acme/webhook:approved", Note: noteWebhook}, nil},
		"a short name":                    {"acme/webhook", false, nil, brief{Source: "docker.io/acme/webhook", Note: noteWebhook}, nil},
		"named by a manifest as well":     {carried, true, []string{private}, brief{Source: carried, Note: noteCarried}, nil},
		"named by its name at the vendor": {carried, true, []string{gar + "/privatelink-webhook:v1"}, brief{Source: carried, Note: noteCarried}, []string{gar + "/privatelink-webhook:v1"}},
	} {
		t.Run(name, func(t *testing.T) {
			l := New(rules(t, rewrite.Config{}))
			l.AddWebhook(tc.source, private, tc.carried)
			for _, ref := range tc.others {
				l.Add(ref, here)
			}
			images := l.Images()
			tc.want.Target, tc.want.Copy = "ECR/privatelink-webhook:v1", true
			if d := cmp.Diff([]brief{tc.want}, briefs(images)); d != "" {
				t.Fatal(d)
			}
			if i := images[0]; i.Outcome != rewrite.Rewritten || i.Rule != "the webhook's own image" || i.Carried != tc.carried || !slices.Equal(i.Also, tc.also) {
				t.Errorf("%+v", i)
			}
		})
	}
}

func TestEnvironmentValues(t *testing.T) {
	l := New(rules(t, rewrite.Config{}))
	l.AddEnv("SCANNERS_IMAGE", "v1.2.3", here) // a tag
	l.AddEnv("SCANNERS_IMAGE", "", here)
	l.AddEnv("SCANNERS_IMAGE", gar+"/kvisor-scanners:v1", here)
	want := []brief{{Source: gar + "/kvisor-scanners:v1", Target: "ECR/kvisor-scanners:v1", Copy: true}}
	if d := cmp.Diff(want, briefs(l.Images())); d != "" {
		t.Error(d)
	}
}
