// SPDX-License-Identifier: Apache-2.0

package webhook

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync/atomic"
	"time"

	"github.com/castai/privatelink-webhook/internal/rewrite"
)

// ConfigFile loads the rules of a configuration file and reloads them when the
// file changes. A file with faults does not take effect: the last valid rules stay
// in use, and the log and a metric report it. They also report keys of a newer
// version, which are ignored.
type ConfigFile struct {
	path     string
	interval time.Duration
	metrics  *Metrics
	log      *slog.Logger
	patcher  atomic.Pointer[Patcher]
	last     []byte // as read most recently, good or not
}

// ConfigFileConfig configures ConfigFile. Path and Metrics are required.
type ConfigFileConfig struct {
	Path     string
	Interval time.Duration // how often the file is read; default 2s
	Metrics  *Metrics
	Log      *slog.Logger // default: discards
}

// NewConfigFile loads the file. It returns an error if the file cannot be read or
// has faults.
func NewConfigFile(c ConfigFileConfig) (*ConfigFile, error) {
	if c.Path == "" || c.Metrics == nil {
		return nil, errors.New("config file: Path and Metrics are required")
	}
	if c.Interval == 0 {
		c.Interval = 2 * time.Second
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	f := &ConfigFile{path: c.Path, interval: c.Interval, metrics: c.Metrics, log: c.Log}
	data, err := os.ReadFile(c.Path)
	if err != nil {
		return nil, fmt.Errorf("configuration: %w: mount the ConfigMap privatelink-webhook, or name another file with --config", err)
	}
	return f, f.load(data)
}

// Patcher returns the Patcher for the current rules.
func (f *ConfigFile) Patcher() *Patcher { return f.patcher.Load() }

// Watch reloads the file when it changes, until ctx ends. It compares contents: a
// ConfigMap volume changes by renaming a symlink, which file events report
// unreliably, and the file is small.
func (f *ConfigFile) Watch(ctx context.Context) {
	tick := time.NewTicker(f.interval)
	defer tick.Stop()
	readable := true
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		data, err := os.ReadFile(f.path)
		switch {
		case err != nil && readable:
			f.failed(err)
		case err == nil && (!readable || !bytes.Equal(data, f.last)):
			if err := f.load(data); err != nil {
				f.failed(err)
			}
		}
		readable = err == nil
	}
}

func (f *ConfigFile) load(data []byte) error {
	f.last = data
	rules, ignored, err := rewrite.LoadServed(f.path, data)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(data)
	hash := hex.EncodeToString(sum[:])[:12]
	f.patcher.Store(NewPatcher(rules))
	f.metrics.loaded(hash, len(ignored))
	c := rules.Config()
	f.log.Info("configuration loaded", "file", f.path, "hash", hash, "registry", c.Registry,
		"namespaces", c.Namespaces, "rules", len(c.Rules), "keep", len(c.Keep), "envVars", c.EnvVars)
	for _, key := range ignored {
		f.log.Warn("configuration has a key that this version ignores", "key", key.Field, "error", key)
	}
	return nil
}

func (f *ConfigFile) failed(err error) {
	f.metrics.loadFailed()
	f.log.Error("configuration refused, the last valid one stays in use", "file", f.path, "error", err)
}
