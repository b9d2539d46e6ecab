// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"

	"github.com/spf13/pflag"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/castai/privatelink-webhook/internal/flagenv"
)

type options struct {
	config, listen, metricsListen  string
	certFile, keyFile              string
	kubeconfig, namespace          string
	secret, service, configuration string
	serviceAccount                 string
	memoryLimit                    int64 // bytes
	levelText                      string
	level                          slog.Level
	version                        bool
}

const usage = `Rewrite the public image references of pods to a private registry, as an admission
webhook. Certificates are self-managed, unless both TLS files are given.

Every flag can also be set by an environment variable: --log-level by
PRIVATELINK_LOG_LEVEL, and so on. A flag on the command line takes precedence.

Exit codes:
  0  stopped, after the reviews in progress
  1  failed
  2  invalid usage or configuration

Usage:
  privatelink-webhook --config FILE [flags]
  privatelink-webhook probe HOST:PORT...

Flags:
`

// parse reads flags, and the environment for those that were not given.
func parse(args []string, getenv func(string) string, stdout io.Writer) (o options, err error) {
	f := pflag.NewFlagSet("privatelink-webhook", pflag.ContinueOnError)
	f.SetOutput(stdout)
	f.SortFlags = false
	f.Usage = func() { fmt.Fprint(stdout, usage+f.FlagUsages()) }
	f.StringVar(&o.config, "config", "", "configuration `FILE`, privatelink.yaml (required)")
	f.StringVar(&o.listen, "listen", ":9443", "`ADDRESS` of /mutate, HTTPS")
	f.StringVar(&o.metricsListen, "metrics-listen", ":8080", "`ADDRESS` of /metrics, /healthz and /readyz, HTTP")
	f.StringVar(&o.certFile, "tls-cert-file", "", "PEM `FILE` with the serving certificate, read again when it changes")
	f.StringVar(&o.keyFile, "tls-private-key-file", "", "PEM `FILE` with its private key")
	f.StringVar(&o.levelText, "log-level", "info", "`LEVEL`: debug, info, warn or error")
	f.StringVar(&o.kubeconfig, "kubeconfig", "", "`FILE` to reach the API server with, outside a cluster (self-managed certificates only)")
	f.StringVar(&o.namespace, "namespace", "castai-privatelink", "`NAMESPACE` of the webhook's pod, Service and Secret")
	f.StringVar(&o.secret, "ca-secret", "privatelink-webhook-ca", "`NAME` of the Secret that holds the CA (self-managed certificates only)")
	f.StringVar(&o.service, "service", "privatelink-webhook", "`NAME` of the Service, which the certificate is for")
	f.StringVar(&o.serviceAccount, "service-account", "", "`NAME` of the pod's service account, compared with --service to detect renamed objects (default: not compared)")
	f.StringVar(&o.configuration, "webhook-configuration", "zz-privatelink-webhook", "`NAME` of the MutatingWebhookConfiguration to publish the CA in (self-managed certificates only)")
	f.Int64Var(&o.memoryLimit, "memory-limit", 0, "memory limit of the container in `BYTES`; the garbage collector keeps to three quarters of it (default: no limit)")
	f.BoolVar(&o.version, "version", false, "print the version and exit")
	if err := f.Parse(args); err != nil {
		if errors.Is(err, pflag.ErrHelp) {
			return o, err
		}
		return o, usageError{fmt.Errorf("%w: see --help", err)}
	}
	if err := flagenv.Set(f, getenv); err != nil {
		return o, usageError{err}
	}
	if o.version {
		return o, nil
	}
	return o, o.check(f.Args())
}

func (o *options) check(rest []string) error {
	switch {
	case len(rest) > 0:
		return usageError{fmt.Errorf("unexpected argument %q: see --help", rest[0])}
	case o.config == "":
		return usageError{errors.New("--config is required: the file privatelink.yaml, with at least a registry")}
	case o.serviceAccount != "" && o.serviceAccount != o.service:
		// RBAC, the policy that confines the account, and certificates name these
		// objects in texts that kustomize does not change.
		return usageError{fmt.Errorf("service account %q, want %q, the name of the Service: the objects of the bundle cannot be renamed: remove namePrefix and nameSuffix from the kustomization (namespace may be set)", o.serviceAccount, o.service)}
	case o.memoryLimit < 0:
		return usageError{fmt.Errorf("--memory-limit %d: give bytes, or 0 for no limit", o.memoryLimit)}
	case (o.certFile == "") != (o.keyFile == ""):
		return usageError{errors.New("--tls-cert-file and --tls-private-key-file go together: give both, or neither for self-managed certificates")}
	}
	if err := o.level.UnmarshalText([]byte(o.levelText)); err != nil {
		return usageError{fmt.Errorf("--log-level %q: use debug, info, warn or error", o.levelText)}
	}
	return nil
}

// apiServer finds the API server: by kubeconfig, or as a pod does.
func apiServer(kubeconfig string) (*rest.Config, error) {
	if kubeconfig != "" {
		c, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
		if err != nil {
			return nil, fmt.Errorf("--kubeconfig: %w", err)
		}
		return c, nil
	}
	c, err := rest.InClusterConfig()
	if err != nil {
		return nil, fmt.Errorf("self-managed certificates need the API server: %w: outside a cluster give --kubeconfig, or --tls-cert-file and --tls-private-key-file", err)
	}
	return c, nil
}
