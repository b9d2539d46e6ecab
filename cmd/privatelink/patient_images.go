// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/castai/privatelink-webhook/internal/catalog"
	"github.com/castai/privatelink-webhook/internal/catalog/live"
	"github.com/castai/privatelink-webhook/internal/doctor"
	registrychecks "github.com/castai/privatelink-webhook/internal/doctor/registry"
	"github.com/castai/privatelink-webhook/internal/mirror/lock"
)

// imageChecks are those of the registry.
func (p *patient) imageChecks(c *cobra.Command) ([]doctor.Check, error) {
	transfer := transferFlags{profile: p.aws.profile, plainHTTP: p.plainHTTP}
	client, own, err := transfer.registries(c, p.rules)
	if err != nil {
		return nil, err
	}
	config := registrychecks.Config{Registry: p.rules.Registry(), Client: client, Images: p.images, Platforms: p.platforms, Webhook: p.imageToBe, Copy: "privatelink mirror --config privatelink.yaml"}
	if own != nil {
		config.ECR = own
	}
	if p.lock != lock.DefaultFile {
		config.Copy += " --lock " + p.lock
	}
	return registrychecks.Checks(config), nil
}

// images are those of the lock file, or else those that the cluster names.
func (p *patient) images(ctx context.Context) (all []registrychecks.Image, err error) {
	known, err := readLock(p.lock, p.rules)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return p.imagesOfCluster(ctx)
	case err != nil:
		return nil, err
	}
	for _, i := range known.Images {
		cut := len(known.Platforms) > 0 || i.SourceDigest != "" && i.SourceDigest != i.Digest
		all = append(all, registrychecks.Image{Target: i.Target, Digest: i.Digest, Whole: !cut})
	}
	return all, nil
}

func (p *patient) imagesOfCluster(ctx context.Context) (all []registrychecks.Image, err error) {
	if p.away != nil {
		return nil, fmt.Errorf("there is no lock file %s, and %w", p.lock, p.away)
	}
	list := catalog.New(p.rules)
	if _, err := live.Read(ctx, p.client, list); err != nil {
		return nil, err
	}
	for _, i := range list.Images() {
		if strings.HasPrefix(i.Target, p.rules.Registry()+"/") {
			all = append(all, registrychecks.Image{Target: i.Target})
		}
	}
	return all, nil
}

// platforms are those of the nodes.
func (p *patient) platforms(ctx context.Context) (all []string, err error) {
	if p.away != nil {
		return nil, p.away
	}
	nodes, err := p.client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	for _, n := range nodes.Items {
		all = append(all, n.Status.NodeInfo.OperatingSystem+"/"+n.Status.NodeInfo.Architecture)
	}
	slices.Sort(all)
	return slices.Compact(all), nil
}

// imageToBe is what the Deployment runs or, before there is one, will run.
func (p *patient) imageToBe(ctx context.Context) (string, error) {
	image, err := p.webhookImage(ctx)
	if p.away != nil || apierrors.IsNotFound(err) {
		return p.bundle.image, nil
	}
	return image, err
}
