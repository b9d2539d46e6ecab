// SPDX-License-Identifier: Apache-2.0

package webhook

import (
	"crypto/sha256"
	"encoding/hex"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func config(registry string) string { return "registry: " + registry + "\n" }

const (
	ecrA = "111111111111.dkr.ecr.us-east-1.amazonaws.com"
	ecrB = "222222222222.dkr.ecr.us-east-1.amazonaws.com"
	ecrC = "333333333333.dkr.ecr.us-east-1.amazonaws.com"
)

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// followed is a configuration file that is being watched, inside a bubble of
// testing/synctest: waitForRead returns after the watch has read the file again.
type followed struct {
	*ConfigFile
	path    string
	metrics *Metrics
	log     *journal
}

func follow(t *testing.T, path string) followed {
	t.Helper()
	f := followed{path: path, metrics: NewMetrics("test"), log: &journal{}}
	var err error
	f.ConfigFile, err = NewConfigFile(ConfigFileConfig{Path: path, Interval: time.Minute, Metrics: f.metrics, Log: slog.New(slog.NewTextHandler(f.log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	go f.Watch(t.Context()) // the bubble fails if it does not end with the context
	synctest.Wait()
	return f
}

func (f followed) waitForRead() {
	time.Sleep(time.Minute)
	synctest.Wait()
}

// inForce checks which registry the patcher writes, and what the metrics say.
func (f followed) inForce(t *testing.T, text string, good bool, loads, failures float64) {
	t.Helper()
	want := strings.TrimSpace(strings.TrimPrefix(text, "registry: "))
	patch, _ := f.Patcher().Create([]byte(`{"spec":{"containers":[{"name":"a","image":"quay.io/a/b:1"}]}}`))
	if !strings.Contains(string(patch), `"`+want+"/quay.io/a/b:1\"") {
		t.Errorf("patch %s, want the registry %s", patch, want)
	}
	sum := sha256.Sum256([]byte(text))
	value := map[bool]float64{true: 1}[good]
	expectMetrics(t, f.metrics, map[string]float64{
		"privatelink_config_last_load_successful":                                 value,
		`privatelink_config_loads_total{result="success"}`:                        loads,
		`privatelink_config_loads_total{result="failure"}`:                        failures,
		`privatelink_config_info{hash="` + hex.EncodeToString(sum[:])[:12] + `"}`: 1,
	})
	infos := 0
	for series := range scrape(t, f.metrics) {
		if strings.HasPrefix(series, "privatelink_config_info") {
			infos++
		}
	}
	if infos != 1 {
		t.Errorf("%d configurations are reported as in force", infos)
	}
}

// loadedAt is the time of the load, which the bubble's clock makes exact.
func (f followed) loadedAt(t *testing.T) float64 {
	return scrape(t, f.metrics)["privatelink_config_last_load_success_timestamp_seconds"]
}

func TestAChangeTakesEffect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "privatelink.yaml")
		write(t, path, config(ecrA))
		f := follow(t, path)
		f.inForce(t, config(ecrA), true, 1, 0)
		first := f.loadedAt(t)

		f.waitForRead()
		f.waitForRead()
		f.inForce(t, config(ecrA), true, 1, 0) // unchanged: not loaded again

		write(t, path, config(ecrB))
		f.inForce(t, config(ecrA), true, 1, 0) // not looked at yet
		f.waitForRead()
		f.inForce(t, config(ecrB), true, 2, 0)
		if got := f.loadedAt(t) - first; got != 180 {
			t.Errorf("loaded %v s after the first load, want 180", got)
		}
	})
}

func TestFaultsNeverTakeEffect(t *testing.T) {
	for name, fault := range map[string]string{
		"no YAML":                   "registry: [",
		"nothing":                   "",
		"an unknown key":            config(ecrB) + "registri: x\n",
		"a registry that is none":   "registry: not a registry\n",
		"half of a file being read": config(ecrB)[:20],
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				path := filepath.Join(t.TempDir(), "privatelink.yaml")
				write(t, path, config(ecrA))
				f := follow(t, path)

				write(t, path, fault)
				f.waitForRead()
				f.inForce(t, config(ecrA), false, 1, 1)
				f.waitForRead()
				f.inForce(t, config(ecrA), false, 1, 1) // logged once, not at each read
				if n := strings.Count(f.log.String(), "level=ERROR"); n != 1 || !strings.Contains(f.log.String(), "last valid one stays in use") {
					t.Errorf("the log:\n%s", f.log)
				}

				write(t, path, config(ecrA)) // taken back
				f.waitForRead()
				f.inForce(t, config(ecrA), true, 2, 1)

				write(t, path, config(ecrC))
				f.waitForRead()
				f.inForce(t, config(ecrC), true, 3, 1)
			})
		})
	}
}

func TestAFileThatVanishesAndReturns(t *testing.T) {
	for name, tc := range map[string]struct {
		back            string
		good            bool
		loads, failures float64
		inForce         string
	}{
		"the same":        {config(ecrA), true, 2, 1, config(ecrA)},
		"another":         {config(ecrB), true, 2, 1, config(ecrB)},
		"one with faults": {"registry:\n", false, 1, 2, config(ecrA)},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				path := filepath.Join(t.TempDir(), "privatelink.yaml")
				write(t, path, config(ecrA))
				f := follow(t, path)
				if err := os.Remove(path); err != nil {
					t.Fatal(err)
				}
				f.waitForRead()
				f.waitForRead()
				f.inForce(t, config(ecrA), false, 1, 1)
				write(t, path, tc.back)
				f.waitForRead()
				f.inForce(t, tc.inForce, tc.good, tc.loads, tc.failures)
				f.waitForRead()
				f.inForce(t, tc.inForce, tc.good, tc.loads, tc.failures)
			})
		})
	}
}

// A kubelet writes a ConfigMap into a new folder and renames a symlink to it;
// the file that is watched is a symlink through that one, and never changes.
func TestAConfigMapVolume(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		volume := t.TempDir()
		publish := func(version, text string) {
			t.Helper()
			folder, data := filepath.Join(volume, "..2026_11_22_"+version), filepath.Join(volume, "..data")
			if err := os.Mkdir(folder, 0o755); err != nil {
				t.Fatal(err)
			}
			write(t, filepath.Join(folder, "privatelink.yaml"), text)
			if err := os.Symlink(filepath.Base(folder), data+"_tmp"); err != nil {
				t.Fatal(err)
			}
			old, _ := os.Readlink(data)
			if err := os.Rename(data+"_tmp", data); err != nil {
				t.Fatal(err)
			}
			if old != "" {
				if err := os.RemoveAll(filepath.Join(volume, old)); err != nil {
					t.Fatal(err)
				}
			}
		}
		publish("1", config(ecrA))
		path := filepath.Join(volume, "privatelink.yaml")
		if err := os.Symlink(filepath.Join("..data", "privatelink.yaml"), path); err != nil {
			t.Fatal(err)
		}
		f := follow(t, path)
		f.inForce(t, config(ecrA), true, 1, 0)
		publish("2", config(ecrB))
		f.waitForRead()
		f.inForce(t, config(ecrB), true, 2, 0)
		publish("3", "registry:")
		f.waitForRead()
		f.inForce(t, config(ecrB), false, 2, 1)
		publish("4", config(ecrC))
		f.waitForRead()
		f.inForce(t, config(ecrC), true, 3, 1)
	})
}

func TestTheFirstConfigurationMustBeValid(t *testing.T) {
	dir := t.TempDir()
	faulty := filepath.Join(dir, "faulty.yaml")
	write(t, faulty, "registry: 5\nregistri: x\n")
	for name, tc := range map[string]struct {
		config ConfigFileConfig
		says   []string
	}{
		"a file that is not there": {ConfigFileConfig{Path: filepath.Join(dir, "none.yaml"), Metrics: NewMetrics("")}, []string{"none.yaml", "--config"}},
		"a folder":                 {ConfigFileConfig{Path: dir, Metrics: NewMetrics("")}, []string{dir, "--config"}},
		"faults, all of them":      {ConfigFileConfig{Path: faulty, Metrics: NewMetrics("")}, []string{"faulty.yaml:1: registry", "faulty.yaml:2: registri"}},
		"no path":                  {ConfigFileConfig{Metrics: NewMetrics("")}, []string{"Path"}},
		"no metrics":               {ConfigFileConfig{Path: faulty}, []string{"Metrics"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := NewConfigFile(tc.config)
			if err == nil {
				t.Fatal("no error")
			}
			for _, s := range tc.says {
				if !strings.Contains(err.Error(), s) {
					t.Errorf("the error does not say %q: %v", s, err)
				}
			}
		})
	}
}

// TestVersionSkew starts and reloads with the configuration of a newer version, as an
// older replica does that is restarted in a rolling update.
func TestVersionSkew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "privatelink.yaml")
		newer := "aSettingOfTheNextVersion: {on: true}\n"
		text := config(ecrA) + newer
		write(t, path, text)
		f := follow(t, path)
		expectMetrics(t, f.metrics, map[string]float64{"privatelink_config_last_load_successful": 1, "privatelink_config_ignored_keys": 1})
		if patch, _ := f.Patcher().Create([]byte(`{"spec":{"containers":[{"name":"a","image":"quay.io/a/b:1"}]}}`)); !strings.Contains(string(patch), ecrA+"/quay.io/a/b:1") {
			t.Errorf("patch %s", patch)
		}
		if log := f.log.String(); !strings.Contains(log, "level=WARN") || !strings.Contains(log, "aSettingOfTheNextVersion") {
			t.Errorf("no warning: %s", log)
		}
		write(t, path, config(ecrB)) // of the older version again
		f.waitForRead()
		f.inForce(t, config(ecrB), true, 2, 0)
		expectMetrics(t, f.metrics, map[string]float64{"privatelink_config_ignored_keys": 0})
		// A rule may mean something else with a key that this version does not know.
		write(t, path, config(ecrA)+"rules: [{source: quay.io, target: p, onlyDigests: true}]\n")
		f.waitForRead()
		f.inForce(t, config(ecrB), false, 2, 1)
	})
}
