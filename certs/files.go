// SPDX-License-Identifier: Apache-2.0

package certs

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math"
	"os"
	"time"

	servertls "github.com/cert-manager/cert-manager/pkg/server/tls"
)

// FilesConfig configures Files. The two paths are required.
type FilesConfig struct {
	CertFile string        // PEM: the leaf first, then intermediates
	KeyFile  string        // PEM
	Interval time.Duration // how often the files are read; default 10s
	Log      *slog.Logger  // default: discards
}

// Files is a Source that serves a certificate and key from files and reloads them
// when they change. It does not publish the caBundle: the issuer of the files does.
type Files struct {
	cfg    FilesConfig
	source *servertls.FileCertificateSource
	first  *tls.Certificate // read by NewFiles, served until source has its own
}

var _ Source = (*Files)(nil)

// NewFiles returns a source for the two files. It reads them at once, and returns
// an error if they are not a valid pair. Files that do not exist yet are no
// error, since a Secret may be mounted late.
func NewFiles(cfg FilesConfig) (*Files, error) {
	if cfg.CertFile == "" || cfg.KeyFile == "" {
		return nil, errors.New("certificate files: CertFile and KeyFile are both required")
	}
	if cfg.Interval <= 0 {
		cfg.Interval = 10 * time.Second
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	f := &Files{cfg: cfg, source: &servertls.FileCertificateSource{
		CertPath: cfg.CertFile, KeyPath: cfg.KeyFile, UpdateInterval: cfg.Interval,
		// The default ends the source after twelve failures in total, even if
		// successful reads lie between them.
		MaxFailures: math.MaxInt,
	}}
	pair, err := tls.LoadX509KeyPair(cfg.CertFile, cfg.KeyFile)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, fmt.Errorf("certificate file %s and key file %s: %w: write a PEM certificate and the private key that belongs to it, both from the same issue", cfg.CertFile, cfg.KeyFile, err)
	default:
		f.first = &pair
	}
	return f, nil
}

// Start implements Source. A pair that is broken later is logged, and the last
// good one stays in use.
func (f *Files) Start(ctx context.Context) error {
	// The source reads once and then at each interval; files that come late are
	// to be served sooner than that.
	for f.first == nil && !f.present() {
		if !pause(ctx, min(f.cfg.Interval, 500*time.Millisecond)) {
			return nil
		}
	}
	if err := f.source.Start(withRateLimitedLogger(ctx, f.cfg.Log)); err != nil && ctx.Err() == nil {
		return fmt.Errorf("certificate file %s and key file %s: %w", f.cfg.CertFile, f.cfg.KeyFile, err)
	}
	return nil
}

func (f *Files) present() bool {
	for _, name := range []string{f.cfg.CertFile, f.cfg.KeyFile} {
		if _, err := os.Stat(name); err != nil {
			return false
		}
	}
	return true
}

// GetCertificate implements Source.
func (f *Files) GetCertificate(h *tls.ClientHelloInfo) (*tls.Certificate, error) {
	cert, err := f.source.GetCertificate(h)
	if err != nil && f.first != nil {
		return f.first, nil
	}
	return cert, err
}

// Ready implements Source.
func (f *Files) Ready() error {
	cert, err := f.GetCertificate(nil)
	if err != nil {
		return fmt.Errorf("no certificate: %s and %s do not exist, or are not a valid pair: mount the Secret, or write both files", f.cfg.CertFile, f.cfg.KeyFile)
	}
	leaf, err := leafOf(cert)
	if err != nil {
		return fmt.Errorf("certificate file %s: %w", f.cfg.CertFile, err)
	}
	if time.Now().After(leaf.NotAfter) {
		return fmt.Errorf("the certificate of file %s expired at %s: renew it", f.cfg.CertFile, leaf.NotAfter)
	}
	return nil
}

// Expiry implements Source. The expiry of the CA is not known.
func (f *Files) Expiry() (leaf, ca time.Time) {
	pair, err := f.GetCertificate(nil)
	if err != nil {
		return leaf, ca
	}
	cert, err := leafOf(pair)
	if err != nil {
		return leaf, ca
	}
	return cert.NotAfter, ca
}
