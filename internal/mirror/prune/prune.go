// SPDX-License-Identifier: Apache-2.0

// Package prune deletes images from a private ECR that are no longer needed.
//
// An image is retained if the policy retains it, a pod or the template of a workload
// uses it, a retained image lists or refers to it, or it may be part of a push that is
// not finished.
package prune

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/castai/privatelink-webhook/internal/chartimage"
	"github.com/castai/privatelink-webhook/internal/exitcode"
	"github.com/castai/privatelink-webhook/internal/kubeconfig"
	"github.com/castai/privatelink-webhook/internal/mirror"
	"github.com/castai/privatelink-webhook/internal/mirror/lock"
	"github.com/castai/privatelink-webhook/internal/progress"
	"github.com/castai/privatelink-webhook/internal/registry/awsecr"
	"github.com/castai/privatelink-webhook/internal/rewrite"
	"github.com/castai/privatelink-webhook/internal/table"
)

// minAge is how long an unfinished push may take.
const minAge = 24 * time.Hour

// Options are those of a run. Rules and Out are required, and KeepNewest or LockFiles.
type Options struct {
	Rules *rewrite.Rules
	// KeepNewest is the number of tagged images to retain in each repository.
	KeepNewest int
	// LockFiles list images to retain.
	LockFiles []string
	// Protected are repositories in which everything is retained.
	Protected []string
	// Cluster is the one whose workloads are considered, unless IgnoreCluster is set.
	Cluster       kubeconfig.Options
	IgnoreCluster bool
	// Delete deletes; without it the images are only listed. Confirm is called before, with
	// the list already written, and its error ends the run; nil confirms.
	Delete  bool
	Confirm func() error
	Connect awsecr.ConnectOptions
	Out     io.Writer
}

// Run lists the images below the registry prefix that are no longer needed, and
// deletes them if Options.Delete is set.
func Run(ctx context.Context, o Options) error {
	if !o.Rules.OnECR() {
		return exitcode.Usagef("%s is not a private ECR: prune supports no other registry", o.Rules.Registry())
	}
	policy, err := o.policy(ctx)
	if err != nil {
		return err
	}
	o.Connect.Prefix = o.Rules.Registry()
	client, ecr, err := awsecr.Connect(ctx, o.Connect)
	if err != nil {
		return exitcode.AsUsage(err)
	}
	p := pruner{ecr: ecr, manifests: client, policy: policy, out: o.Out, confirm: o.Confirm}
	return p.run(ctx, o.Rules.Registry(), o.Delete)
}

func (o Options) policy(ctx context.Context) (retentionPolicy, error) {
	locked, err := lockedImages(o.LockFiles, o.Rules.Registry())
	if err != nil {
		return retentionPolicy{}, exitcode.Usagef("--not-in: %w", err)
	}
	used := usage{}
	for _, repository := range o.Protected {
		used.protect(repository)
	}
	policy := retentionPolicy{KeepNewest: o.KeepNewest, Locked: locked, MinAge: minAge, InUse: used.contains}
	if err := policy.Validate(); err != nil {
		return retentionPolicy{}, exitcode.AsUsage(err)
	}
	if o.IgnoreCluster {
		return policy, nil
	}
	client, err := o.Cluster.Client()
	if err != nil {
		return retentionPolicy{}, fmt.Errorf("images that workloads use are retained: %w, or --no-cluster", err)
	}
	inCluster := usage{}
	switch err := o.Cluster.Explain(inCluster.addCluster(ctx, client, o.Rules)); {
	case err != nil:
		return retentionPolicy{}, fmt.Errorf("images that workloads use are retained, and they cannot be listed: %w, or ignore them with --no-cluster", err)
	case !inCluster.isBelow(o.Rules.Registry()):
		return retentionPolicy{}, fmt.Errorf("no pod or workload of %s uses an image of %s: select another with --kubeconfig and --context, or ignore the cluster with --no-cluster", o.Cluster.Target(), o.Rules.Registry())
	}
	maps.Copy(used, inCluster)
	return policy, nil
}

// lockedImages returns the images of all files and their referrers as
// repository@digest, nil without a file. These are errors, because images that are
// needed would be deleted: a file for another registry, and one that lists images as
// not copied.
func lockedImages(files []string, prefix string) (map[string]bool, error) {
	if len(files) == 0 {
		return nil, nil
	}
	all := map[string]bool{}
	for _, file := range files {
		l, err := lock.Read(file)
		if err != nil {
			return nil, err
		}
		if l.Registry != prefix {
			return nil, fmt.Errorf("%s is for the registry %s, not for %s: all images would be deleted", file, l.Registry, prefix)
		}
		if n := len(l.NotCopied); n > 0 {
			return nil, fmt.Errorf("%s lists %d images that were not copied, such as %s, and it is unknown what is kept for them: run privatelink mirror first", file, n, l.NotCopied[0].Source)
		}
		for _, e := range l.Images {
			repository := rewrite.SplitReference(e.Target).Repository
			for _, d := range append([]digest.Digest{e.Digest}, e.Referrers...) {
				all[repository+"@"+d.String()] = true
			}
		}
	}
	return all, nil
}

// ecrAPI is the part of awsecr.Registry that a run needs.
type ecrAPI interface {
	Repositories(ctx context.Context, prefix string) ([]string, error)
	Images(ctx context.Context, repository string) ([]awsecr.Detail, error)
	Delete(ctx context.Context, repository string, digests ...digest.Digest) ([]awsecr.NotDeleted, error)
}

// manifestReader is the part of registry.Client that a run needs.
type manifestReader interface {
	Resolve(ctx context.Context, repository, tagOrDigest string) (ocispec.Descriptor, error)
	Manifest(ctx context.Context, repository string, d ocispec.Descriptor) ([]byte, error)
}

type pruner struct {
	ecr       ecrAPI
	manifests manifestReader
	policy    retentionPolicy
	out       io.Writer
	confirm   func() error // may be nil
}

func (p pruner) run(ctx context.Context, prefix string, del bool) error {
	choices, err := p.choose(ctx, prefix)
	if err != nil {
		return err
	}
	if err := p.print(choices); err != nil {
		return err // nothing is deleted unseen
	}
	if !del {
		fmt.Fprintln(p.out, "nothing was deleted: add --yes to delete")
		return nil
	}
	if p.confirm != nil {
		if err := p.confirm(); err != nil {
			return err
		}
	}
	return p.delete(ctx, choices)
}

// choose applies the policy to every repository below the prefix.
func (p pruner) choose(ctx context.Context, prefix string) (choices []choice, err error) {
	repositories, err := p.ecr.Repositories(ctx, prefix)
	if err != nil {
		return nil, err
	}
	for _, repository := range repositories {
		images, err := p.ecr.Images(ctx, repository)
		if err != nil {
			return nil, err
		}
		var candidates []candidate
		for _, i := range images {
			// An archived image cannot be pulled, nor can its index be read.
			isIndex := mirror.IsIndex(i.MediaType) && !i.Archived
			candidates = append(candidates, candidate{Digest: i.Digest, Tags: i.Tags, IsIndex: isIndex, IsChart: i.ArtifactType == chartimage.ConfigType, Subject: i.Subject, Pushed: i.Pushed, Size: i.Size})
		}
		c, err := choose(ctx, repository, candidates, p.policy, p.children, time.Now())
		if err != nil {
			return nil, err
		}
		choices = append(choices, c)
	}
	return choices, nil
}

func (p pruner) children(ctx context.Context, repository string, c candidate) (all []digest.Digest, err error) {
	d, err := p.manifests.Resolve(ctx, repository, c.Digest.String())
	if err != nil {
		return nil, err
	}
	text, err := p.manifests.Manifest(ctx, repository, d)
	if err != nil {
		return nil, err
	}
	var index ocispec.Index
	if err := json.Unmarshal(text, &index); err != nil {
		return nil, err
	}
	for _, m := range index.Manifests {
		all = append(all, m.Digest)
	}
	return all, nil
}

func (p pruner) print(choices []choice) error {
	var images, kept int
	var size int64
	t := table.New(p.out)
	for _, c := range choices {
		for _, i := range c.Delete {
			t.Row(c.Repository+"@"+i.Digest.String(), strings.Join(i.Tags, " "), "pushed "+i.Pushed.Format(time.DateOnly))
		}
		images, kept, size = images+len(c.Delete), kept+c.Kept, size+c.Size
	}
	t.Text(fmt.Sprintf("%d images of %d repositories can be deleted, %d are kept; at most %s", images, len(choices), kept, progress.FormatBytes(size)))
	return t.Flush()
}

// delete deletes one repository after the other. Images that ECR does not delete
// are part of the error, and do not stop the others.
func (p pruner) delete(ctx context.Context, choices []choice) error {
	var errs []error
	deleted := 0
	for _, c := range choices {
		if len(c.Delete) == 0 {
			continue
		}
		var digests []digest.Digest
		for _, i := range c.Delete {
			digests = append(digests, i.Digest)
		}
		left, err := p.ecr.Delete(ctx, c.Repository, digests...)
		if err != nil {
			return errors.Join(append(errs, err)...)
		}
		deleted += len(digests) - len(left)
		for _, l := range left {
			errs = append(errs, fmt.Errorf("%s@%s was not deleted: %w", c.Repository, l.Digest, l.Err))
		}
	}
	fmt.Fprintf(p.out, "%d deleted\n", deleted)
	return errors.Join(errs...)
}
