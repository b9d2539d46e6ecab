// SPDX-License-Identifier: Apache-2.0

// Command privatelink-webhook is the admission webhook: it rewrites the public
// image references of pods to the customer's registry.
//
// Exit codes: 0 stopped by a signal after draining, 1 failed, 2 wrong usage or
// configuration.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/spf13/pflag"
	"golang.org/x/sync/errgroup"
	"k8s.io/klog/v2"

	"github.com/castai/privatelink-webhook/certs"
	"github.com/castai/privatelink-webhook/internal/terminal"
	"github.com/castai/privatelink-webhook/webhook"
)

// version is set by the linker.
var version = "dev"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Getenv, os.Stdout, os.Stderr)
	stop()
	var wrong usageError
	switch {
	case errors.Is(err, pflag.ErrHelp) || err == nil:
	case errors.As(err, &wrong):
		fmt.Fprintln(os.Stderr, "privatelink-webhook:", err)
		os.Exit(2)
	default:
		fmt.Fprintln(os.Stderr, "privatelink-webhook:", err)
		os.Exit(1)
	}
}

// usageError is an error in flags or configuration, which a restart does not fix.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// gcPercent halves the work of the garbage collector, for a few MiB: the heap that
// is in use has about 3. --memory-limit bounds it where there is more.
const gcPercent = 200

// limitCollector sets how hard the garbage collector works. Variables of Go have precedence.
//
// A container is killed at its limit, so the collector has a lower one. The rest is for
// memory that it does not manage: https://go.dev/doc/gc-guide#Memory_limit
func limitCollector(memory int64, getenv func(string) string) {
	if getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	if memory > 0 && getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(memory / 4 * 3)
	}
}

// run assembles and runs the server. With the argument "probe", it runs the probe
// instead.
func run(ctx context.Context, args []string, getenv func(string) string, stdout, stderr io.Writer) error {
	if len(args) > 0 && args[0] == "probe" {
		return runProbe(ctx, args[1:], stdout)
	}
	o, err := parse(args, getenv, stdout)
	if err != nil {
		return err
	}
	if o.version {
		_, err := fmt.Fprintln(stdout, "privatelink-webhook", version)
		return err
	}
	limitCollector(o.memoryLimit, getenv)
	log := slog.New(slog.NewJSONHandler(stderr, &slog.HandlerOptions{Level: o.level, ReplaceAttr: terminal.EscapeAttr}))
	klog.SetSlogLogger(log) // client-go logs there
	metrics := webhook.NewMetrics(version)
	config, err := webhook.NewConfigFile(webhook.ConfigFileConfig{Path: o.config, Metrics: metrics, Log: log})
	if err != nil {
		return usageError{err}
	}
	source, err := certificates(o, log)
	if err != nil {
		return err
	}
	metrics.WatchCertificate(source.Expiry)
	handler, err := webhook.NewHandler(webhook.HandlerConfig{Patcher: config.Patcher, Metrics: metrics, Log: log})
	if err != nil {
		return err
	}
	server, err := webhook.NewServer(webhook.ServerConfig{
		Listen: o.listen, MetricsListen: o.metricsListen, Handler: handler,
		GetCertificate: source.GetCertificate, Ready: source.Ready, Metrics: metrics, Log: log,
	})
	if err != nil {
		return usageError{err}
	}

	// Certificates and configuration are followed until the last review of the
	// drain is answered, not just until the signal.
	group, running := errgroup.WithContext(context.WithoutCancel(ctx))
	following, stop := context.WithCancel(running)
	serving, cancel := context.WithCancel(running)
	context.AfterFunc(ctx, cancel)
	group.Go(func() error { return source.Start(following) })
	group.Go(func() error { config.Watch(following); return nil })
	group.Go(func() error { defer stop(); return server.Run(serving) })
	err = group.Wait()
	cancel()
	return err
}

func certificates(o options, log *slog.Logger) (certs.Source, error) {
	if o.certFile != "" {
		source, err := certs.NewFiles(certs.FilesConfig{CertFile: o.certFile, KeyFile: o.keyFile, Log: log})
		if err != nil {
			return nil, usageError{err}
		}
		return source, nil
	}
	api, err := apiServer(o.kubeconfig)
	if err != nil {
		return nil, usageError{err}
	}
	return certs.NewSelfManaged(certs.SelfManagedConfig{
		RESTConfig: api, Namespace: o.namespace, SecretName: o.secret,
		ConfigurationName: o.configuration, ServiceName: o.service, Log: log,
	})
}
