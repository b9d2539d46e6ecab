// SPDX-License-Identifier: Apache-2.0

package certs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	acv1 "k8s.io/client-go/applyconfigurations/admissionregistration/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/util/retry"
)

const (
	// fieldManager owns the caBundle fields and nothing else.
	fieldManager = "privatelink-webhook"
	// caKey is where cert-manager's authority keeps the CA certificate.
	caKey = "ca.crt"
	// callTimeout bounds one conversation with the API server, retries included.
	callTimeout = 5 * time.Second
)

// errNoCA says that the Secret is there and empty, as it is shipped: a replica
// fills it within moments of its start.
var errNoCA = errors.New("holds no CA yet; a running replica of the webhook makes one")

// publisher writes the CA of the Secret into each caBundle of the configuration.
// It needs get on both objects and patch on the configuration.
type publisher struct {
	client                           kubernetes.Interface
	namespace, secret, configuration string
	log                              *slog.Logger

	// turn keeps conversations with the API server apart, so that seen never
	// goes back in time.
	turn sync.Mutex
	mu   sync.Mutex
	seen view
}

// publish adds the CA of the Secret to each caBundle. A configuration that does
// not exist is not an error: there is nothing to publish to yet.
func (p *publisher) publish(ctx context.Context) (view, error) {
	return p.write(ctx, false, addCA)
}

// repair is publish at the price of a single read when nothing is wrong. It
// cannot miss a rotation by that: a new CA is published before it signs.
func (p *publisher) repair(ctx context.Context) error {
	_, err := p.write(ctx, true, addCA)
	if errors.Is(err, errNoCA) {
		return nil
	}
	return err
}

func addCA(old, ca []byte) []byte { return union(time.Now(), old, ca) }

// write sets each caBundle to what bundle makes of its old content and of the
// CA. If lazy, it leaves a configuration alone that holds the CA last seen.
func (p *publisher) write(ctx context.Context, lazy bool, bundle func(old, ca []byte) []byte) (view, error) {
	p.turn.Lock()
	defer p.turn.Unlock()
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	err := retry.RetryOnConflict(retry.DefaultBackoff, func() error { return p.attempt(ctx, lazy, bundle) })
	return p.last(), err
}

// attempt reads the configuration first, the Secret second, and writes on
// condition that the configuration is still the one it read. The order matters.
// [Reset] writes the Secret first and the configuration last: if the Secret read
// here still has the old CA, the last write of Reset is yet to come and wins;
// with the reads the other way round, a revoked CA could come back.
func (p *publisher) attempt(ctx context.Context, lazy bool, bundle func(old, ca []byte) []byte) error {
	api := p.client.AdmissionregistrationV1().MutatingWebhookConfigurations()
	cfg, err := api.Get(ctx, p.configuration, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		cfg = nil
	} else if err != nil {
		return p.explain("MutatingWebhookConfiguration "+p.configuration, err)
	}
	p.remember(cfg, p.last().ca)
	if v := p.last(); lazy && v.ca != nil && v.published() {
		return nil
	}
	ca, err := p.authority(ctx)
	if err != nil {
		return err
	}
	if cfg == nil {
		p.remember(nil, ca)
		return nil
	}
	// The resource version makes a lost update between replicas a conflict; the
	// apply itself would let one replica overwrite the other's union.
	apply, changed := acv1.MutatingWebhookConfiguration(p.configuration).WithResourceVersion(cfg.ResourceVersion), 0
	for _, w := range cfg.Webhooks {
		b := bundle(w.ClientConfig.CABundle, ca)
		if !bytes.Equal(b, w.ClientConfig.CABundle) {
			changed++
		}
		apply.WithWebhooks(acv1.MutatingWebhook().WithName(w.Name).
			WithClientConfig(acv1.WebhookClientConfig().WithCABundle(b...)))
	}
	if changed > 0 {
		cfg, err = api.Apply(ctx, apply, metav1.ApplyOptions{FieldManager: fieldManager, Force: true})
		if err != nil {
			return p.explain("MutatingWebhookConfiguration "+p.configuration, err)
		}
		p.log.Info("published the CA", "configuration", p.configuration, "entries", changed, "notAfter", parse(ca)[0].NotAfter)
	}
	p.remember(cfg, ca)
	return nil
}

// authority returns the CA certificate as the Secret has it now. A copy held in
// memory would not do, see attempt.
func (p *publisher) authority(ctx context.Context) ([]byte, error) {
	what := "Secret " + p.namespace + "/" + p.secret
	s, err := p.client.CoreV1().Secrets(p.namespace).Get(ctx, p.secret, metav1.GetOptions{})
	if err != nil {
		return nil, p.explain(what, err)
	}
	if len(parse(s.Data[caKey])) == 0 {
		return nil, fmt.Errorf("%s: %w", what, errNoCA)
	}
	return s.Data[caKey], nil
}

// explain adds the remedy to the errors that an operator can cure.
func (p *publisher) explain(what string, err error) error {
	switch {
	case apierrors.IsForbidden(err):
		return fmt.Errorf("%s: %w (apply the install bundle again: its RBAC allows get and patch on this one configuration, and get, list, watch and update on this one Secret)", what, err)
	case apierrors.IsNotFound(err):
		return fmt.Errorf("%s: %w (apply the install bundle again: it ships the Secret empty)", what, err)
	}
	return fmt.Errorf("%s: %w", what, err)
}
