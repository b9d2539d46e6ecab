// SPDX-License-Identifier: Apache-2.0

//go:build compat

// Package compat mirrors images between other implementations of registries: that of
// the distribution project, built from its module, and the package of Debian. It also
// compares this project with other clients, on registries that misbehave. It requires
// root on Debian or Ubuntu, unless docker-registry and skopeo are installed.
package compat

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"github.com/castai/privatelink-webhook/internal/mirror"
	"github.com/castai/privatelink-webhook/internal/registry"
)

const root = "../.."

// buildDistribution builds the version that the benchmark pins.
func buildDistribution(t *testing.T) string {
	t.Helper()
	bin, err := filepath.Abs(filepath.Join(root, ".cache", "mirror-peers"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-o", bin+"/", "github.com/distribution/distribution/v3/cmd/registry")
	cmd.Dir = filepath.Join(root, "test", "bench", "mirror", "peers")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("building the registry: %v: %s", err, out)
	}
	return filepath.Join(bin, "registry")
}

// install installs a package of Debian unless its program is installed.
func install(t *testing.T, name string) string {
	t.Helper()
	if path, err := exec.LookPath(name); err == nil {
		return path
	}
	for _, args := range [][]string{{"update", "-q"}, {"install", "-qy", "--no-install-recommends", name}} {
		cmd := exec.CommandContext(t.Context(), "apt-get", args...)
		cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("apt-get %v: %v: %s", args, err, out)
		}
	}
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// start runs a registry on a free port.
func start(t *testing.T, program string) (host string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	host = l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	config := filepath.Join(dir, "config.yaml")
	if err := os.WriteFile(config, fmt.Appendf(nil, "version: 0.1\nlog: {accesslog: {disabled: true}, level: error}\nstorage: {filesystem: {rootdirectory: %q}}\nhttp: {addr: %q}\n", filepath.Join(dir, "data"), host), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "serve", config)
	cmd.Env = append(os.Environ(), "OTEL_TRACES_EXPORTER=none")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = cmd.Process.Kill(), cmd.Wait() })
	for range 200 {
		if c, err := net.Dial("tcp", host); err == nil {
			_ = c.Close()
			return host
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatalf("%s did not start on %s", program, host)
	return ""
}

func TestMirror(t *testing.T) {
	distribution, debian := buildDistribution(t), install(t, "docker-registry")
	for name, pair := range map[string][2]string{
		"distribution to distribution": {distribution, distribution}, "Debian to Debian": {debian, debian},
		"distribution to Debian": {distribution, debian}, "Debian to distribution": {debian, distribution},
	} {
		t.Run(name, func(t *testing.T) { testMirror(t, start(t, pair[0]), start(t, pair[1])) })
	}
}

// testMirror mirrors images that share layers, mirrors them again, and mirrors an
// image to a tag of another image.
func testMirror(t *testing.T, source, target string) {
	var images []mirror.Job
	for i := range 3 {
		images = append(images, mirror.Job{Source: fmt.Sprintf("%s/library/image-%d:v1", source, i), Target: fmt.Sprintf("%s/mirror/image-%d:v1", target, i)})
	}
	first, err := random.Index(200_000, 3, 2)
	if err != nil {
		t.Fatal(err)
	}
	for n, i := range images {
		index := first // two references to one image, whose layers can be mounted
		if n == 2 {
			if index, err = random.Index(200_000, 3, 2); err != nil {
				t.Fatal(err)
			}
		}
		if err := remote.WriteIndex(parse(t, i.Source), index); err != nil {
			t.Fatal(err)
		}
	}
	client := registry.New(registry.Options{})
	m := &mirror.Mirror{Source: client, Target: client, Referrers: true}
	var progress mirror.Progress
	run := func() *mirror.Plan {
		t.Helper()
		plan, err := m.Plan(t.Context(), images)
		if err != nil {
			t.Fatal(err)
		}
		if err := m.Run(t.Context(), plan, &progress); err != nil {
			t.Fatal(err)
		}
		return plan
	}
	for _, i := range run().Items {
		if i.State != mirror.StateCopied {
			t.Errorf("%s: %s %v", i.Source, i.State, i.Err)
		}
	}
	if progress.Mounted.Load() == 0 {
		t.Error("no blob was mounted")
	}
	for _, i := range images {
		from, err1 := remote.Head(parse(t, i.Source))
		to, err2 := remote.Head(parse(t, i.Target))
		if err1 != nil || err2 != nil || from.Digest != to.Digest {
			t.Fatalf("%s: %v %v %v %v", i.Target, err1, err2, from, to)
		}
		index, err := remote.Index(parse(t, i.Target))
		if err == nil {
			err = validate.Index(index) // reads every layer
		}
		if err != nil {
			t.Errorf("%s: %v", i.Target, err)
		}
	}
	if plan := run(); plan.Count(mirror.StatePresent) != len(images) {
		t.Errorf("the second run reports %d of %d as present", plan.Count(mirror.StatePresent), len(images))
	}
	images[0].Target = images[2].Target
	images = images[:1]
	if plan := run(); plan.Items[0].State != mirror.StateDiffers {
		t.Errorf("tag of another image: %s", plan.Items[0].State)
	}
	images[0].Source = source + "/library/nothing:v1"
	if plan := run(); plan.Items[0].State != mirror.StateFailed || !strings.Contains(plan.Items[0].Err.Error(), "not found") {
		t.Errorf("missing image: %s %v", plan.Items[0].State, plan.Items[0].Err)
	}
}

func parse(t *testing.T, ref string) name.Reference {
	t.Helper()
	r, err := name.ParseReference(ref)
	if err != nil {
		t.Fatal(err)
	}
	return r
}
