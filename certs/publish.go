// SPDX-License-Identifier: Apache-2.0

package certs

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/util/retry"
)

const (
	// fieldManager owns the caBundle fields and nothing else.
	fieldManager = "privatelink-webhook"
	// callTimeout bounds one sequence of API calls, retries included.
	callTimeout = 5 * time.Second
)

// errNoCA is the error for a Secret that is empty, as it is shipped. A replica
// fills it when it starts.
var errNoCA = errors.New("holds no CA yet; a running replica of the webhook makes one")

// publisher writes the CA of the Secret into each caBundle of the configuration.
// It needs get on both objects and patch on the configuration.
type publisher struct {
	client                           kubernetes.Interface
	namespace, secret, configuration string
	log                              *slog.Logger
	isUser                           bool // and not the service account of the webhook
	// makeCA creates the replacement of a CA that needs backdating. It needs update
	// on the Secret. If it is nil, the CA is published as it is.
	makeCA func() (cert, key []byte, err error)

	// apiMu serializes sequences of API calls, so that seen never goes back in
	// time.
	apiMu sync.Mutex
	mu    sync.Mutex
	seen  view
}

// publish adds the CA of the Secret to each caBundle. A configuration that does
// not exist is not an error: there is nothing to publish to yet.
func (p *publisher) publish(ctx context.Context) (view, error) {
	return p.write(ctx, false, addCA)
}

// repair is publish with a single read if the configuration is intact. It does
// not miss a rotation, since a new CA is published before it signs.
func (p *publisher) repair(ctx context.Context) error {
	_, err := p.write(ctx, true, addCA)
	if errors.Is(err, errNoCA) {
		return nil
	}
	return err
}

func addCA(old, ca []byte) []byte { return union(time.Now(), ca, old) }

// write sets each caBundle to bundle of its old content and the CA. If lazy, it
// does not read the Secret if the configuration holds the CA last seen.
func (p *publisher) write(ctx context.Context, lazy bool, bundle func(old, ca []byte) []byte) (view, error) {
	p.apiMu.Lock()
	defer p.apiMu.Unlock()
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
	patch := bundlePatch{}
	patch.Metadata.ResourceVersion = cfg.ResourceVersion
	for _, w := range cfg.Webhooks {
		if b := bundle(w.ClientConfig.CABundle, ca); !bytes.Equal(b, w.ClientConfig.CABundle) {
			patch.set(w.Name, b)
		}
	}
	if changed := len(patch.Webhooks); changed > 0 {
		body, err := json.Marshal(patch)
		if err != nil {
			return err
		}
		cfg, err = api.Patch(ctx, p.configuration, types.StrategicMergePatchType, body, metav1.PatchOptions{FieldManager: fieldManager})
		if err != nil {
			return p.explain("MutatingWebhookConfiguration "+p.configuration, err)
		}
		p.log.Info("published the CA", "configuration", p.configuration, "entries", changed, "notAfter", parse(ca)[0].NotAfter)
	}
	p.remember(cfg, ca)
	return nil
}

// bundlePatch is a strategic merge patch of the bundles. The resource version makes
// a lost update between replicas a conflict.
//
// It is not a server-side apply, which would make the webhook an owner of each entry
// as well as of its bundle. A manifest with an entry less, applied server-side by Helm
// or kubectl, would then leave a name and a bundle of the entry, and be refused as
// invalid.
type bundlePatch struct {
	Metadata struct {
		ResourceVersion string `json:"resourceVersion"`
	} `json:"metadata"`
	Webhooks []bundleEntry `json:"webhooks"`
}

type bundleEntry struct {
	Name         string `json:"name"`
	ClientConfig struct {
		CABundle []byte `json:"caBundle"`
	} `json:"clientConfig"`
}

func (p *bundlePatch) set(name string, bundle []byte) {
	e := bundleEntry{Name: name}
	e.ClientConfig.CABundle = bundle
	p.Webhooks = append(p.Webhooks, e)
}

// authority returns the CA certificate that the Secret has now. A copy in memory
// would not be safe, see attempt.
func (p *publisher) authority(ctx context.Context) ([]byte, error) {
	s, err := p.read(ctx)
	if err != nil {
		return nil, err
	}
	ca := firstCertificate(s.Data[caKey])
	if c := parse(ca)[0]; p.makeCA != nil && needsBackdating(time.Now(), c) {
		return p.replace(ctx, s, c.NotBefore)
	}
	return ca, nil
}

// read returns the Secret, which holds a CA.
func (p *publisher) read(ctx context.Context) (*corev1.Secret, error) {
	s, err := p.client.CoreV1().Secrets(p.namespace).Get(ctx, p.secret, metav1.GetOptions{})
	if err != nil {
		return nil, p.explain(p.secretName(), err)
	}
	if len(parse(s.Data[caKey])) == 0 {
		return nil, fmt.Errorf("%s: %w", p.secretName(), errNoCA)
	}
	return s, nil
}

// replace writes another CA into the Secret, provided that the Secret was not
// changed since it was read. The authority treats it as the CA of another replica.
func (p *publisher) replace(ctx context.Context, s *corev1.Secret, begins time.Time) ([]byte, error) {
	ca, key, err := p.makeCA()
	if err != nil {
		return nil, fmt.Errorf("make a CA: %w", err)
	}
	setCA(s, ca, key)
	if _, err := p.client.CoreV1().Secrets(p.namespace).Update(ctx, s, metav1.UpdateOptions{}); err != nil {
		return nil, p.explain(p.secretName(), err)
	}
	// It is routine for a CA that the authority has just created, but not for one
	// that becomes valid in the future.
	level, message := slog.LevelDebug, "backdated a new CA"
	if ahead := time.Until(begins); ahead > 0 {
		level, message = slog.LevelWarn, "replaced a CA that is not valid yet; the clock of another replica is ahead, or this one's is behind"
	}
	p.log.Log(ctx, level, message, "began", begins, "begins", parse(ca)[0].NotBefore)
	return ca, nil
}

func (p *publisher) secretName() string { return "Secret " + p.namespace + "/" + p.secret }

// explain adds the remedy to errors that an operator can fix.
func (p *publisher) explain(what string, err error) error {
	switch {
	case apierrors.IsForbidden(err) && p.isUser:
		return fmt.Errorf("%s: %w (ask for get and update on Secret %s/%s, and get and patch on MutatingWebhookConfiguration %s)", what, err, p.namespace, p.secret, p.configuration)
	case apierrors.IsForbidden(err):
		return fmt.Errorf("%s: %w (apply the install bundle again: its RBAC allows get and patch on this one configuration, and get, list, watch and update on this one Secret)", what, err)
	case apierrors.IsNotFound(err):
		return fmt.Errorf("%s: %w (apply the install bundle again: it ships the Secret empty)", what, err)
	}
	return fmt.Errorf("%s: %w", what, err)
}
