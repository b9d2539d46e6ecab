// SPDX-License-Identifier: Apache-2.0

package certs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	servertls "github.com/cert-manager/cert-manager/pkg/server/tls"
	"github.com/cert-manager/cert-manager/pkg/server/tls/authority"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// commonName is the subject of the CA, by which it can be recognized in a caBundle.
const commonName = "privatelink-webhook-ca"

// SelfManagedConfig configures SelfManaged. The first five fields are required.
type SelfManagedConfig struct {
	RESTConfig        *rest.Config
	Namespace         string // of the Secret and of the Service
	SecretName        string // an Opaque Secret, shipped empty
	ConfigurationName string // the MutatingWebhookConfiguration; it may come later
	ServiceName       string // the leaf is for <ServiceName>.<Namespace>.svc

	CADuration   time.Duration // default 365 days; renewed at two thirds
	LeafDuration time.Duration // default 7 days; renewed at two thirds

	// Settle is how long API servers may take to observe a new caBundle. A leaf is
	// signed that long after its CA was published. Default 5s.
	Settle time.Duration
	// RepairInterval is how often the configuration is read, plus up to half of it
	// at random. With the default of 2s, a configuration that was created late, or
	// lost its caBundle, is repaired within about 3s. It is a read by name, because
	// a watch would need list and watch on all configurations.
	RepairInterval time.Duration
	// ConfigurationWait is how long after Start a replica without a configuration is
	// not ready. kubectl and Helm create it after the Deployment, and without the
	// wait a fast node reports a rollout as complete before anything is rewritten.
	// After it the replica is ready, for those who create the configuration only
	// when the Deployment is healthy. Default 10s.
	ConfigurationWait time.Duration
	Log               *slog.Logger // default: discards
}

// SelfManaged is a Source with its own certificate authority, shared by all
// replicas through one Secret. There is no leader election: writes are
// conditional, and a replica whose write conflicts reads again.
type SelfManaged struct {
	cfg    SelfManagedConfig
	name   string // DNS name in the leaf
	source *servertls.DynamicSource
	pub    *publisher

	mu                 sync.Mutex
	started            time.Time
	signErr, repairErr error // what the last attempt failed with
}

var _ Source = (*SelfManaged)(nil)

// NewSelfManaged validates the configuration and returns the source. The error
// joins one for each missing or invalid field. It makes no API calls.
func NewSelfManaged(cfg SelfManagedConfig) (*SelfManaged, error) {
	var missing []error
	need := func(ok bool, field string) {
		if !ok {
			missing = append(missing, fmt.Errorf("self-managed certificates: %s is required", field))
		}
	}
	need(cfg.RESTConfig != nil, "RESTConfig")
	need(cfg.Namespace != "", "Namespace")
	need(cfg.SecretName != "", "SecretName")
	need(cfg.ConfigurationName != "", "ConfigurationName")
	need(cfg.ServiceName != "", "ServiceName")
	cfg = cfg.withDefaults()
	if cfg.LeafDuration >= cfg.CADuration {
		missing = append(missing, fmt.Errorf("self-managed certificates: LeafDuration %s must be shorter than CADuration %s", cfg.LeafDuration, cfg.CADuration))
	}
	if len(missing) > 0 {
		return nil, errors.Join(missing...)
	}
	cfg.RESTConfig = asJSON(cfg.RESTConfig)
	client, err := kubernetes.NewForConfig(cfg.RESTConfig)
	if err != nil {
		return nil, fmt.Errorf("self-managed certificates: client: %w", err)
	}
	s := &SelfManaged{
		cfg:  cfg,
		name: serviceName(cfg.ServiceName, cfg.Namespace),
		pub: &publisher{
			client: client, namespace: cfg.Namespace, secret: cfg.SecretName,
			configuration: cfg.ConfigurationName, log: cfg.Log,
			makeCA: func() (cert, key []byte, err error) {
				return newCA(time.Now(), commonName, serviceName(cfg.ServiceName, cfg.Namespace), cfg.CADuration)
			},
		},
	}
	s.source = &servertls.DynamicSource{DNSNames: []string{s.name}, RetryInterval: retryInterval}
	return s, nil
}

// asJSON selects JSON instead of protobuf. For two small objects protobuf is no
// faster, and without it the linker drops the protobuf code of all Kubernetes
// types, more than a quarter of the binary.
func asJSON(c *rest.Config) *rest.Config {
	c = rest.CopyConfig(c)
	c.ContentType, c.AcceptContentTypes = "application/json", "application/json"
	return c
}

func (cfg SelfManagedConfig) withDefaults() SelfManagedConfig {
	def := func(d *time.Duration, v time.Duration) {
		if *d <= 0 {
			*d = v
		}
	}
	def(&cfg.CADuration, defaultCADuration)
	def(&cfg.LeafDuration, 7*24*time.Hour)
	def(&cfg.Settle, defaultSettle)
	def(&cfg.RepairInterval, 2*time.Second)
	def(&cfg.ConfigurationWait, 10*time.Second)
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return cfg
}

// Start implements Source.
func (s *SelfManaged) Start(ctx context.Context) error {
	s.mu.Lock()
	s.started = time.Now()
	s.mu.Unlock()
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { s.repair(ctx) })
	s.source.Authority = &signer{ctx: ctx, source: s, Authority: &authority.DynamicAuthority{
		SecretNamespace: s.cfg.Namespace, SecretName: s.cfg.SecretName, RESTConfig: s.cfg.RESTConfig,
		CommonName: commonName, CADuration: s.cfg.CADuration,
	}}
	const least, most = time.Second, time.Minute
	for delay := least; ; delay = min(2*delay, most) {
		began := time.Now()
		err := s.source.Start(withRateLimitedLogger(ctx, s.cfg.Log))
		if ctx.Err() != nil {
			return nil
		}
		if time.Since(began) > most {
			delay = least
		}
		// The leaf in use stays in use.
		s.cfg.Log.Warn("the certificate authority stopped, restarting it", "in", delay, "error", err)
		if !pause(ctx, delay) {
			return nil
		}
	}
}

// repair publishes the CA to a configuration that was created late or lost it.
// Otherwise the next renewal would do so, days later.
func (s *SelfManaged) repair(ctx context.Context) {
	every := s.cfg.RepairInterval
	var lastLogged string
	for pause(ctx, every+rand.N(every/2+1)) {
		err := s.pub.repair(ctx)
		switch {
		case ctx.Err() != nil:
		case err == nil && lastLogged != "":
			s.cfg.Log.Info("the webhook configuration can be read and repaired again")
			lastLogged = ""
		case err != nil && err.Error() != lastLogged:
			s.cfg.Log.Warn("cannot verify that the CA is published, retrying", "error", err)
			lastLogged = err.Error()
		}
		s.note(&s.repairErr, err)
	}
}
