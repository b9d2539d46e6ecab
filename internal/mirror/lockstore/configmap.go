// SPDX-License-Identifier: Apache-2.0

package lockstore

import (
	"context"
	"fmt"
	"io/fs"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/castai/privatelink-webhook/internal/kubeconfig"
	"github.com/castai/privatelink-webhook/internal/mirror/lock"
)

// maxConfigMap is what the lock may take of the 1 MiB that a ConfigMap has for its data:
// https://kubernetes.io/docs/concepts/configuration/configmap/#motivation
const maxConfigMap = 1<<20 - 1<<10

// configMap is a lock in a ConfigMap. One without the key is a lock that was not written
// yet: so it may be created by somebody else, and the right to update this one ConfigMap
// suffices.
type configMap struct {
	namespace, name string
	kubeconfig      kubeconfig.Options
	client          kubernetes.Interface
	read            *corev1.ConfigMap // nil if there was none
}

func (c *configMap) String() string { return configMapScheme + c.namespace + "/" + c.name }

func (c *configMap) connect() (err error) {
	if c.client == nil {
		c.client, err = c.kubeconfig.Client()
	}
	return err
}

func (c *configMap) Read(ctx context.Context) (*lock.Lock, error) {
	if err := c.connect(); err != nil {
		return nil, err
	}
	found, err := c.client.CoreV1().ConfigMaps(c.namespace).Get(ctx, c.name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		c.read = nil
		return nil, fmt.Errorf("%s: %w", c, fs.ErrNotExist)
	case err != nil:
		return nil, fmt.Errorf("%s: %w", c, err)
	}
	c.read = found
	text, ok := found.Data[lock.DefaultFile]
	if !ok {
		return nil, fmt.Errorf("%s: %w", c, fs.ErrNotExist)
	}
	return lock.Parse(c.String(), []byte(text))
}

// CheckWritable replaces the ConfigMap by itself in a dry run.
func (c *configMap) CheckWritable(ctx context.Context) error {
	if err := c.connect(); err != nil {
		return err
	}
	return c.replace(ctx, nil, []string{metav1.DryRunAll})
}

func (c *configMap) Write(ctx context.Context, l *lock.Lock) error {
	if err := c.connect(); err != nil {
		return err
	}
	return write(ctx, c, l, func(text []byte) error {
		if len(text) > maxConfigMap {
			return fmt.Errorf("%s: the lock has %d KiB, and a ConfigMap takes 1 MiB: keep it in S3 with --lock s3://BUCKET/KEY; the old lock is unchanged", c, len(text)>>10)
		}
		return c.replace(ctx, text, nil)
	})
}

// replace creates or updates the ConfigMap, unless it was changed or deleted since it was
// read. It has no annotation with its content, as kubectl apply would write it. Without a
// text the content stays.
func (c *configMap) replace(ctx context.Context, text []byte, dryRun []string) (err error) {
	maps := c.client.CoreV1().ConfigMaps(c.namespace)
	if c.read == nil {
		_, err = maps.Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: c.name}, Data: map[string]string{lock.DefaultFile: string(text)}}, metav1.CreateOptions{DryRun: dryRun})
	} else {
		next := c.read.DeepCopy() // with its resource version
		if text != nil {
			if next.Data == nil {
				next.Data = map[string]string{}
			}
			next.Data[lock.DefaultFile] = string(text)
		}
		_, err = maps.Update(ctx, next, metav1.UpdateOptions{DryRun: dryRun})
	}
	switch {
	case apierrors.IsConflict(err), apierrors.IsAlreadyExists(err), c.read != nil && apierrors.IsNotFound(err):
		if dryRun != nil {
			return nil // it can be written
		}
		return errChanged
	case err != nil:
		return fmt.Errorf("%s: %w", c, err)
	}
	return nil
}
