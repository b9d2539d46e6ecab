// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/castai/privatelink-webhook/deploy"
	"github.com/castai/privatelink-webhook/internal/mirror"
	"github.com/castai/privatelink-webhook/internal/mirror/lock"
	"github.com/castai/privatelink-webhook/internal/mirror/prune"
	"github.com/castai/privatelink-webhook/internal/registry"
	"github.com/castai/privatelink-webhook/internal/registry/awsecr"
	"github.com/castai/privatelink-webhook/internal/rewrite"
)

func newPrune() *cobra.Command {
	var (
		rules          ruleFlags
		transfer       transferFlags
		keep           int
		notIn          []string
		yes, noCluster bool
		cluster        clusterFlags
	)
	c := &cobra.Command{
		Use:   "prune (--keep N | --not-in LOCK)...",
		Short: "Delete images from ECR that nobody needs any more",
		Long: `Delete images from the private ECR that nobody needs any more: all but the newest N
of each repository, or all that no lock file names; with both, what either keeps
stays.

Only repositories below the registry prefix are looked at. An image that a pod of
the cluster uses always stays, with its signatures and all its platforms; so the
cluster is asked, in all namespaces. The webhook's own images stay. Untagged images younger than a day stay: they
may be part of a push that is under way.

Without --yes nothing is deleted: what would be is listed.`,
		Example: `  privatelink prune --config privatelink.yaml --keep 3
  privatelink prune --config privatelink.yaml --not-in privatelink.lock.yaml --yes`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			r, _, err := rules.rules()
			if err != nil {
				return err
			}
			if !r.OnECR() {
				return usageError{fmt.Errorf("%s is not a private ECR: prune knows no other registry", r.Registry())}
			}
			rule := prune.Rule{Keep: keep, Young: 24 * time.Hour, Used: func(string, prune.Image) bool { return false }}
			if rule.Locked, err = lockedImages(notIn, r); err != nil {
				return err
			}
			if err := rule.Validate(); err != nil {
				return usageError{err}
			}
			if !noCluster {
				if rule.Used, err = usedBy(c.Context(), cluster); err != nil {
					return err
				}
			}
			byPods, own := rule.Used, r.Registry()+"/"+deploy.Image
			rule.Used = func(repository string, i prune.Image) bool { return repository == own || byPods(repository, i) }
			_, client, err := transfer.mirror(c, r)
			if err != nil {
				return err
			}
			account, err := awsecr.New(c.Context(), awsecr.Config{Prefix: r.Registry(), Profile: transfer.profile,
				Warn: func(message string) { fmt.Fprintln(c.ErrOrStderr(), "privatelink:", message) }})
			if err != nil {
				return usageError{err}
			}
			choices, err := choose(c.Context(), account, client, r.Registry(), rule)
			if err != nil {
				return err
			}
			list(c.OutOrStdout(), choices)
			if !yes {
				fmt.Fprintln(c.OutOrStdout(), "nothing was deleted; add --yes for that")
				return nil
			}
			return remove(c, account, choices)
		},
	}
	rules.add(c.Flags())
	c.Flags().StringVar(&transfer.profile, "profile", "", "AWS `PROFILE` for ECR (default: as the AWS CLI)")
	c.Flags().IntVar(&keep, "keep", 0, "how many images stay in each repository, the `NUMBER` of the newest")
	c.Flags().StringSliceVar(&notIn, "not-in", nil, "`LOCK` file whose images stay; may be repeated, for several clusters")
	c.Flags().BoolVar(&yes, "yes", false, "delete, and not only say what")
	c.Flags().BoolVar(&noCluster, "no-cluster", false, "do not ask which images pods use: those may go as well")
	cluster.add(c.Flags())
	transfer.parallel = 32
	return c
}

// lockedImages are those of all files, as repository@digest; nil without a file.
func lockedImages(files []string, rules *rewrite.Rules) (map[string]bool, error) {
	if len(files) == 0 {
		return nil, nil
	}
	all := map[string]bool{}
	for _, f := range files {
		l, err := lock.Read(f)
		if err != nil {
			return nil, usageError{fmt.Errorf("--not-in: %w", err)}
		}
		if l.Registry != rules.Registry() {
			return nil, usageError{fmt.Errorf("--not-in: %s is for the registry %s, not for %s: all would go", f, l.Registry, rules.Registry())}
		}
		for _, i := range l.Images {
			repository := rewrite.SplitReference(i.Target).Repository
			all[repository+"@"+i.Digest.String()] = true
		}
	}
	return all, nil
}

// usedBy asks a cluster for its pods. It tells of an image by name and tag, and by
// digest, as the pod asks for it and as the node found it.
func usedBy(ctx context.Context, cluster clusterFlags) (func(string, prune.Image) bool, error) {
	client, err := cluster.client()
	if err != nil {
		return nil, fmt.Errorf("asking which images are used: %w, or --no-cluster", err)
	}
	used := map[string]bool{}
	for next := ""; ; {
		pods, err := client.CoreV1().Pods("").List(ctx, metav1.ListOptions{Limit: 500, Continue: next})
		if err != nil {
			return nil, fmt.Errorf("asking the cluster which images pods use: %w", err)
		}
		for _, p := range pods.Items {
			note(used, p)
		}
		if next = pods.Continue; next == "" {
			break
		}
	}
	return func(repository string, i prune.Image) bool {
		return used[repository+"@"+i.Digest.String()] || slices.ContainsFunc(i.Tags, func(t string) bool { return used[repository+":"+t] })
	}, nil
}

// note takes down what a pod uses, as repository:tag and repository@digest.
func note(used map[string]bool, p corev1.Pod) {
	add := func(text string) {
		ref := rewrite.SplitReference(text)
		if ref.Digest != "" {
			used[ref.Repository+"@"+ref.Digest] = true
		}
		if ref.Digest == "" || ref.Tag != "" {
			used[ref.Repository+":"+cmp.Or(ref.Tag, "latest")] = true
		}
	}
	for _, c := range slices.Concat(p.Spec.InitContainers, p.Spec.Containers) {
		add(c.Image)
	}
	for _, c := range p.Spec.EphemeralContainers {
		add(c.Image)
	}
	for _, v := range p.Spec.Volumes {
		if v.Image != nil {
			add(v.Image.Reference)
		}
	}
	for _, s := range slices.Concat(p.Status.InitContainerStatuses, p.Status.ContainerStatuses, p.Status.EphemeralContainerStatuses) {
		add(s.ImageID)
	}
}

// choose looks at every repository below the prefix.
func choose(ctx context.Context, account *awsecr.Registry, client *registry.Client, prefix string, rule prune.Rule) ([]prune.Choice, error) {
	names, err := account.Repositories(ctx, prefix)
	if err != nil {
		return nil, err
	}
	children := func(ctx context.Context, repository string, i prune.Image) ([]digest.Digest, error) {
		return childrenOf(ctx, client, repository, i)
	}
	var choices []prune.Choice
	for _, name := range names {
		found, err := account.Images(ctx, name)
		if err != nil {
			return nil, err
		}
		var images []prune.Image
		for _, i := range found {
			images = append(images, prune.Image{Digest: i.Digest, Tags: i.Tags, Index: mirror.IsIndex(i.MediaType) && !i.Archived, Subject: i.Subject, Pushed: i.Pushed, Size: i.Size})
		}
		c, err := prune.Choose(ctx, name, images, rule, children, time.Now())
		if err != nil {
			return nil, err
		}
		choices = append(choices, c)
	}
	return choices, nil
}

func childrenOf(ctx context.Context, client *registry.Client, repository string, i prune.Image) ([]digest.Digest, error) {
	d, err := client.Resolve(ctx, repository, i.Digest.String())
	if err != nil {
		return nil, err
	}
	text, err := client.Manifest(ctx, repository, d)
	if err != nil {
		return nil, err
	}
	var index ocispec.Index
	if err := json.Unmarshal(text, &index); err != nil {
		return nil, err
	}
	var all []digest.Digest
	for _, m := range index.Manifests {
		all = append(all, m.Digest)
	}
	return all, nil
}

func list(w io.Writer, choices []prune.Choice) {
	var images, kept int
	var total int64
	for _, c := range choices {
		for _, i := range c.Delete {
			fmt.Fprintf(w, "%s@%s  %s  pushed %s\n", c.Repository, i.Digest, strings.Join(i.Tags, " "), i.Pushed.Format(time.DateOnly))
		}
		images, kept, total = images+len(c.Delete), kept+c.Kept, total+c.Size
	}
	fmt.Fprintf(w, "%d images of %d repositories can go, %d stay; %s at most\n", images, len(choices), kept, size(total))
}

// remove deletes repository by repository. What is left is told, and the rest
// goes on.
func remove(c *cobra.Command, account *awsecr.Registry, choices []prune.Choice) error {
	var errs []error
	deleted := 0
	for _, choice := range choices {
		var digests []digest.Digest
		for _, i := range choice.Delete {
			digests = append(digests, i.Digest)
		}
		if len(digests) == 0 {
			continue
		}
		left, err := account.Delete(c.Context(), choice.Repository, digests...)
		if err != nil {
			return errors.Join(append(errs, err)...)
		}
		deleted += len(digests) - len(left)
		for _, l := range left {
			errs = append(errs, fmt.Errorf("%s@%s was not deleted: %w", choice.Repository, l.Digest, l.Err))
		}
	}
	fmt.Fprintf(c.OutOrStdout(), "%d deleted\n", deleted)
	return errors.Join(errs...)
}
