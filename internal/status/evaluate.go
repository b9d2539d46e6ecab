// SPDX-License-Identifier: Apache-2.0

package status

import (
	"fmt"
	"time"
)

// Findings are the conclusions from a status.
type Findings struct {
	// Errors need action: replicas that are not ready, missing images, pods that wait
	// for images, a mirror that has not run, a refused or differing configuration, expired
	// certificates.
	Errors []string
	// Unknown could not be determined. Checks that were not requested are not
	// included.
	Unknown []string
}

// Evaluate returns the findings as of now.
func (s *Status) Evaluate(now time.Time) (f Findings) {
	ready := 0
	for _, r := range s.Replicas {
		if r.Ready {
			ready++
		}
		if r.Error != "" {
			f.Unknown = append(f.Unknown, r.Pod+": "+r.Error)
			continue
		}
		f.Errors = append(f.Errors, r.evaluate(s.ConfigHash, now)...)
	}
	if s.Unbound {
		f.Errors = append(f.Errors, "the policy "+s.Policy+" has no binding: no pod is rewritten: install it again")
	}
	if s.Policy == "" && (ready < s.Wanted || ready == 0) {
		f.Errors = append(f.Errors, fmt.Sprintf("%d of %d replicas are ready", ready, s.Wanted))
	}
	if s.ConfigError != "" {
		f.Unknown = append(f.Unknown, "ConfigMap: "+s.ConfigError)
	}
	if n := len(s.Registry.Missing); n > 0 {
		f.Errors = append(f.Errors, fmt.Sprintf("%d images are missing in the registry", n))
	}
	if n := len(s.Registry.Differs); n > 0 {
		f.Errors = append(f.Errors, fmt.Sprintf("%d images have another digest than in the lock file", n))
	}
	f.Unknown = append(f.Unknown, s.Registry.Failed...)
	f.Errors = append(f.Errors, s.Waiting.evaluate()...)
	if s.Waiting.NotListed != "" {
		f.Unknown = append(f.Unknown, "pods that wait for images: "+s.Waiting.NotListed)
	}
	f.Unknown = append(f.Unknown, s.Waiting.Failed...)
	f.Errors = append(f.Errors, s.Mirror.evaluate(now)...)
	if s.Mirror.Failed != "" {
		f.Unknown = append(f.Unknown, "the mirror's schedule: "+s.Mirror.Failed)
	}
	return f
}

// evaluate returns the errors of one replica. An empty configHash is unknown.
func (r *Replica) evaluate(configHash string, now time.Time) (errs []string) {
	if r.ConfigRefused {
		errs = append(errs, r.Pod+" refused the newest configuration: see its log")
	} else if configHash != "" && r.ConfigHash != configHash {
		errs = append(errs, fmt.Sprintf("%s has configuration %s, the ConfigMap is %s; the kubelet updates it within two minutes", r.Pod, r.ConfigHash, configHash))
	}
	if r.ConfigIgnoredKeys > 0 {
		errs = append(errs, fmt.Sprintf("%s, version %s, ignores %d keys of the configuration: update it, or correct the keys", r.Pod, r.Version, r.ConfigIgnoredKeys))
	}
	for _, c := range []struct {
		name string
		ends time.Time
	}{{"certificate", r.LeafEnds}, {"CA", r.CAEnds}} {
		if !c.ends.IsZero() && !now.Before(c.ends) {
			errs = append(errs, fmt.Sprintf("the %s of %s expired on %s", c.name, r.Pod, c.ends.Format(time.DateTime)))
		}
	}
	return errs
}
