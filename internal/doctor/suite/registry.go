// SPDX-License-Identifier: Apache-2.0

package suite

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/castai/privatelink-webhook/internal/catalog"
	"github.com/castai/privatelink-webhook/internal/catalog/live"
	"github.com/castai/privatelink-webhook/internal/doctor"
	"github.com/castai/privatelink-webhook/internal/doctor/cluster"
	"github.com/castai/privatelink-webhook/internal/doctor/registry"
	"github.com/castai/privatelink-webhook/internal/exitcode"
	"github.com/castai/privatelink-webhook/internal/mirror/lock"
	"github.com/castai/privatelink-webhook/internal/mirror/lockstore"
	"github.com/castai/privatelink-webhook/internal/registry/awsecr"
)

func (s *Suite) registryChecks(ctx context.Context) ([]doctor.Check, error) {
	o := awsecr.ConnectOptions{
		Settings: awsecr.Settings(s.Rules.Config().Repositories), Quick: true, Profile: s.AWS.Profile, PlainHTTP: s.PlainHTTP, UserAgent: s.UserAgent, Warn: s.Warn,
	}
	if s.Rules.OnECR() {
		o.Prefix = s.Rules.Registry()
	}
	client, ecr, err := awsecr.Connect(ctx, o)
	if _, ok := errors.AsType[*awsecr.ConfigurationError](err); ok {
		return doctor.Unavailable(registry.Checks(registry.Config{}), doctor.Unknownf("see --profile", "%v", err)), nil
	}
	if err != nil {
		return nil, exitcode.AsUsage(err)
	}
	c := registry.Config{
		Registry: s.Rules.Registry(), Client: client, Images: s.requiredImages, Platforms: s.platforms, Webhook: s.expectedWebhookImage,
		Mirror: "privatelink mirror --config privatelink.yaml", Install: cluster.InstallCommand(s.engine, s.release),
	}
	if ecr != nil {
		c.ECR = ecr
	}
	if s.lockName() != lock.DefaultFile {
		c.Mirror += " --lock " + s.LockFile
	}
	return registry.Checks(c), nil
}

func (s *Suite) lockName() string { return cmp.Or(s.LockFile, lock.DefaultFile) }

func (s *Suite) openLock() (lockstore.Store, error) {
	return lockstore.Open(s.lockName(), lockstore.Options{Kubeconfig: s.Cluster, Profile: s.AWS.Profile})
}

// requiredImages returns the images of the lock file or, if there is none and none was
// named, of the cluster.
func (s *Suite) requiredImages(ctx context.Context) (images []registry.RequiredImage, err error) {
	store, err := s.openLock()
	if err != nil {
		return nil, err
	}
	l, err := store.Read(ctx)
	switch {
	case errors.Is(err, fs.ErrNotExist) && s.LockFile == "":
		return s.imagesInCluster(ctx)
	case err != nil:
		return nil, doctor.NewError(err, fmt.Sprintf("see that %s is there, is a lock and may be read by you, or select another with --lock", store))
	case l.Registry != s.Rules.Registry():
		return nil, fmt.Errorf("%s is for registry %s, not for %s: select another lock with --lock", store, l.Registry, s.Rules.Registry())
	}
	for _, i := range l.Images {
		isPartial := len(l.Platforms) > 0 || i.SourceDigest != "" && i.SourceDigest != i.Digest
		images = append(images, registry.RequiredImage{Target: i.Target, Digest: i.Digest, AllPlatforms: !isPartial, IsChart: i.Chart != nil})
	}
	for _, n := range l.NotCopied {
		if n.Target != "" {
			images = append(images, registry.RequiredImage{Target: n.Target, IsChart: n.Chart != nil})
		}
	}
	return images, nil
}

func (s *Suite) imagesInCluster(ctx context.Context) (images []registry.RequiredImage, err error) {
	if s.clusterErr != nil {
		return nil, fmt.Errorf("no lock file %s, and %w", s.lockName(), s.clusterErr)
	}
	list := catalog.New(s.Rules)
	if _, err := live.Read(ctx, s.client, list); err != nil {
		return nil, cluster.WithRemedy(err)
	}
	for _, i := range list.Images() {
		if strings.HasPrefix(i.Target, s.Rules.Registry()+"/") {
			images = append(images, registry.RequiredImage{Target: i.Target})
		}
	}
	return images, nil
}

// platforms returns the platforms of the Linux nodes, such as linux/arm64. Windows nodes
// run neither the webhook nor CAST AI's images for Linux.
func (s *Suite) platforms(ctx context.Context) (platforms []string, err error) {
	if s.clusterErr != nil {
		return nil, s.clusterErr
	}
	nodes, err := s.client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, cluster.WithRemedy(err)
	}
	for _, n := range nodes.Items {
		if info := n.Status.NodeInfo; info.OperatingSystem == string(corev1.Linux) {
			platforms = append(platforms, info.OperatingSystem+"/"+info.Architecture)
		}
	}
	return doctor.Distinct(platforms), nil
}

// expectedWebhookImage returns the image of the Deployment or, before the
// installation, of the bundle.
func (s *Suite) expectedWebhookImage(ctx context.Context) (string, error) {
	image, err := s.webhookImage(ctx)
	if s.clusterErr != nil || apierrors.IsNotFound(err) {
		return s.bundle.image, nil
	}
	return image, err
}
