// SPDX-License-Identifier: Apache-2.0

package certs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/util/retry"
)

// ResetConfig configures Reset. The client and the names are required; the client
// must be allowed to get and update the Secret, and to get and patch the
// configuration.
type ResetConfig struct {
	Client            kubernetes.Interface
	Namespace         string
	SecretName        string
	ConfigurationName string
	ServiceName       string // the CA is for <ServiceName>.<Namespace>.svc alone

	CADuration time.Duration // default 365 days
	Settle     time.Duration // as configured for the replicas; default 5s
	Now        bool          // distrust the old CA at once, see Reset
	Progress   func(string)  // is called for each step; default: discards
}

// Reset revokes the CA: it writes a new one to the Secret, and sets every caBundle
// to the new CA alone. To delete the Secret is not enough, since the old CA stays
// in the bundle until it expires. CAs from other sources are removed from the
// bundle too, because it cannot be known which of them leaked.
//
// By default no call fails. Both CAs are trusted for three times Settle, in which
// the replicas, which watch the Secret, sign with the new one; a replica that
// cannot reach the API server in that time is not trusted until it can.
//
// With Now, the old CA is distrusted first, so that its key is useless at once.
// Pod creations in the webhook's namespaces are then rejected until the replicas
// have signed new leaves, for a second or two. Controllers retry; a bare Pod is
// not retried.
//
// If Reset is interrupted, or returns an error that does not say that nothing was
// changed, the old CA may still be trusted: run it again.
func Reset(ctx context.Context, cfg ResetConfig) error {
	if cfg.Client == nil || cfg.Namespace == "" || cfg.SecretName == "" || cfg.ConfigurationName == "" || cfg.ServiceName == "" {
		return errors.New("reset certificates: Client, Namespace, SecretName, ConfigurationName and ServiceName are required")
	}
	cfg = cfg.withDefaults()
	ca, err := cfg.replaceSecret(ctx)
	if _, refused := errors.AsType[*apierrors.StatusError](err); refused {
		return fmt.Errorf("reset certificates: %w; nothing was changed", err)
	}
	if err == nil {
		cfg.Progress(fmt.Sprintf("Secret %s/%s has a new CA", cfg.Namespace, cfg.SecretName))
		err = cfg.distrustOthers(ctx, ca)
	}
	if err != nil {
		return fmt.Errorf("reset certificates: %w: the old CA may still be trusted: run the reset again", err)
	}
	return nil
}

func (cfg ResetConfig) withDefaults() ResetConfig {
	if cfg.CADuration <= 0 {
		cfg.CADuration = defaultCADuration
	}
	if cfg.Settle <= 0 {
		cfg.Settle = defaultSettle
	}
	if cfg.Progress == nil {
		cfg.Progress = func(string) {}
	}
	return cfg
}

// publisher returns a publisher with the permissions of the user.
func (cfg ResetConfig) publisher() *publisher {
	return &publisher{
		client: cfg.Client, namespace: cfg.Namespace, secret: cfg.SecretName,
		configuration: cfg.ConfigurationName, log: slog.New(slog.DiscardHandler), isUser: true,
	}
}

// distrustOthers makes every caBundle trust the CA of the Secret alone.
func (cfg ResetConfig) distrustOthers(ctx context.Context, ca []byte) error {
	p := cfg.publisher()
	if !cfg.Now {
		v, err := p.publish(ctx)
		if err != nil {
			return err
		}
		if len(v.entries) > 0 {
			// One Settle is what a replica waits before it uses its new leaf, one is
			// for API servers that are slow to notice, one for the replica itself.
			wait := 3 * cfg.Settle
			cfg.Progress(fmt.Sprintf("the old and the new CA are trusted; waiting %s for the replicas to change over", wait))
			if !pause(ctx, wait) {
				return ctx.Err()
			}
		}
	}
	var stray error
	v, err := p.write(ctx, false, func(old, now []byte) []byte {
		if !bytes.Equal(now, ca) {
			stray = fmt.Errorf("the Secret %s/%s was changed in the meantime, perhaps back to the old CA", cfg.Namespace, cfg.SecretName)
			return old
		}
		return union(time.Now(), ca)
	})
	if err := errors.Join(err, stray); err != nil {
		return err
	}
	if len(v.entries) == 0 {
		cfg.Progress(fmt.Sprintf("there is no webhook in MutatingWebhookConfiguration %s, so no caBundle trusts the old CA", cfg.ConfigurationName))
		return nil
	}
	cfg.Progress(fmt.Sprintf("MutatingWebhookConfiguration %s trusts the new CA only", cfg.ConfigurationName))
	return nil
}

// replaceSecret writes a new CA in the form that cert-manager's authority keeps it.
func (cfg ResetConfig) replaceSecret(ctx context.Context) (ca []byte, _ error) {
	p := cfg.publisher()
	ca, key, err := newCA(time.Now(), commonName, serviceName(cfg.ServiceName, cfg.Namespace), cfg.CADuration)
	if err != nil {
		return nil, fmt.Errorf("make a CA: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	secrets, what := cfg.Client.CoreV1().Secrets(cfg.Namespace), "Secret "+cfg.Namespace+"/"+cfg.SecretName
	return ca, retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		s, err := secrets.Get(ctx, cfg.SecretName, metav1.GetOptions{})
		if err != nil {
			return p.explain(what, err)
		}
		setCA(s, ca, key)
		if _, err := secrets.Update(ctx, s, metav1.UpdateOptions{}); err != nil {
			return p.explain(what, err)
		}
		return nil
	})
}
