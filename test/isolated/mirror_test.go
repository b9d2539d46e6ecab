// SPDX-License-Identifier: Apache-2.0

//go:build linux && isolated

package isolated

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/castai/privatelink-webhook/deploy"
	"github.com/castai/privatelink-webhook/test/isolated/ecr"
)

func tlsOf(c tls.Certificate) *tls.Config { return &tls.Config{Certificates: []tls.Certificate{c}} }

// The mirror, from an empty ECR to a running cluster and to the next upgrade. The
// public registries are behind a proxy that only the workstation uses. ECR creates
// no repository on push, and has an API for that.
func TestMirror(t *testing.T) {
	prefix := n.Strict.Host() + "/mirrored"
	dir := t.TempDir()
	lockFile := filepath.Join(dir, "privatelink.lock.yaml")
	// One of them names the registry itself, as the charts' global.registry does.
	texts := workloads(t)
	for i := range texts {
		texts[i] = strings.ReplaceAll(texts[i], Registry+"/us-docker.pkg.dev/", prefix+"/us-docker.pkg.dev/")
	}
	var files []string
	for i, text := range texts {
		files = append(files, "-f", filepath.Join(dir, fmt.Sprintf("%d.yaml", i)))
		if err := os.WriteFile(files[len(files)-1], []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	config := filepath.Join(dir, "privatelink.yaml")
	if err := os.WriteFile(config, []byte("registry: "+prefix+"\nrepositories: {tagMutability: IMMUTABLE}\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	wanted := append([]string{"--config", config, "--set", "phase1,phase2"}, files...)
	sources := strings.Fields(privatelink(t, append([]string{"images", "-o", "sources"}, wanted...)...))
	web := openInternet(t, publicHosts(sources))
	publishAll(t, web, sources)
	work := workstation{web, dir}

	begin := time.Now()
	lock := work.run(t, 0, append([]string{"images", "-o", "lock"}, wanted...)...)
	if err := os.WriteFile(lockFile, []byte(lock), 0o644); err != nil {
		t.Fatal(err)
	}
	if out := work.run(t, 3, "check", "--config", config, "--lock", lockFile); !strings.Contains(out, fmt.Sprintf("%d missing", len(sources))) {
		t.Errorf("an empty registry:\n%s", out)
	}
	out := work.run(t, 0, "mirror", "--config", config, "--lock", lockFile)
	reportf("\nthe mirror: %s; after %s with the lock file", strings.TrimSpace(out[strings.LastIndexByte(strings.TrimSpace(out), '\n')+1:]), since(begin))
	before := web.connections()
	if before == 0 {
		t.Error("no connection to a public registry: the test does not observe the copies")
	}
	work.run(t, 0, "check", "--config", config, "--lock", lockFile)
	work.run(t, 0, "mirror", "--config", config, "--lock", lockFile)
	if after := web.connections(); after != before {
		t.Errorf("a run with nothing to do connected to public registries %d times", after-before)
	}

	step := func(name string, run func(*testing.T)) {
		if !t.Run(name, run) {
			t.FailNow() // the next step needs it
		}
	}
	step("an onboarding from it runs, and no pull fails", func(t *testing.T) {
		pushWebhook(t, prefix)
		o, begin := observe(t), time.Now()
		kubectl(t, privatelink(t, "install", "--config", config), "apply", "-f", "-")
		ready(t)
		onboardWith(t, texts)
		eventually(t, 150*time.Second, complete)
		reportf("with the mirrored images: %s; webhook and all run or are completed after %s", o, since(begin))
		o.clean(t)
		for image := range o.images {
			if host, _, _ := strings.Cut(image, "/"); host != n.Strict.Host() && host != Host && host != AddOnHost {
				t.Errorf("%s runs", image)
			}
		}
		if !o.images[prefix+"/agent:v0.161.1"] {
			t.Errorf("no agent from the mirror among %v", o.images)
		}
	})
	step("before an upgrade, check names what is missing", func(t *testing.T) {
		upgraded := filepath.Join(dir, "next.yaml")
		if err := os.WriteFile(upgraded, []byte(strings.ReplaceAll(texts[0], "/agent:v0.161.1", "/agent:v0.162.0")), 0o644); err != nil {
			t.Fatal(err)
		}
		web.publish(t, "us-docker.pkg.dev/castai-hub/library/agent:v0.162.0", behavior{})
		if out := work.run(t, 3, "check", "--config", config, "--lock", lockFile, "-f", upgraded); !strings.Contains(out, "missing  "+prefix+"/agent:v0.162.0") || !strings.Contains(out, " 1 missing") {
			t.Error(out)
		}
		work.run(t, 0, "mirror", "--config", config, "--lock", filepath.Join(dir, "next.lock.yaml"), "-f", upgraded)
	})
	step("prune leaves what pods use", func(t *testing.T) {
		out := work.run(t, 0, "prune", "--config", config, "--keep", "1")
		if strings.Contains(out, prefix+"/agent@") {
			t.Errorf("the agent in use would go:\n%s", out)
		}
		kubectl(t, "", "delete", "namespace", agentNamespace, "--timeout=90s")
		if out = work.run(t, 0, "prune", "--config", config, "--keep", "1"); !strings.Contains(out, prefix+"/agent@") || !strings.Contains(out, "nothing was deleted") {
			t.Errorf("the old agent would not go:\n%s", out)
		}
		if out = work.run(t, 0, "prune", "--config", config, "--not-in", lockFile, "--yes"); !strings.Contains(out, "deleted\n") {
			t.Error(out)
		}
		work.run(t, 0, "check", "--config", config, "--lock", lockFile)
		if out := work.run(t, 3, "check", "--config", config, "--lock", filepath.Join(dir, "next.lock.yaml")); !strings.Contains(out, "missing  "+prefix+"/agent:v0.162.0") {
			t.Error(out)
		}
	})
	kubectl(t, privatelink(t, "install", "--config", config), "delete", "-f", "-", "--timeout=90s")
	clean(t)
}

// publishAll publishes the sources, with what the workloads want of them.
func publishAll(t *testing.T, web *internet, sources []string) {
	t.Helper()
	texts, err := onboarding(n.Root)
	if err != nil {
		t.Fatal(err)
	}
	uses, _, err := n.wanted(texts)
	if err != nil {
		t.Fatal(err)
	}
	byTarget := map[string]behavior{}
	for image, b := range catalogBehaviors() {
		byTarget[n.Rules.Image(image).Target] = b
	}
	for image, b := range uses {
		byTarget[n.Rules.Image(image).Target] = b
		if host, _, _ := strings.Cut(image, "/"); strings.Contains(host, ".") && !private(image) {
			sources = append(sources, image) // the vendor's other registry has it as well
		}
	}
	for _, s := range sources {
		name, _, _ := strings.Cut(s, "@")
		web.publish(t, s, byTarget[n.Rules.Image(name).Target])
	}
}

// pushWebhook is the last step of `make push`.
func pushWebhook(t *testing.T, prefix string) {
	t.Helper()
	n.Strict.Create(strings.TrimPrefix(prefix, n.Strict.Host()+"/") + "/" + deploy.Image)
	binaries := []string{}
	for _, arch := range Architectures() {
		binaries = append(binaries, "--binary", arch+"="+n.of(arch, "privatelink-webhook"))
	}
	cmd := exec.CommandContext(testCtx, n.tool("ociimage"), append([]string{"--version", n.Version, "--push", prefix + "/" + deploy.Image + ":" + n.Version}, binaries...)...)
	docker := t.TempDir()
	auth := base64.StdEncoding.EncodeToString([]byte(ecr.User + ":" + n.ECR.Password()))
	if err := os.WriteFile(filepath.Join(docker, "config.json"), fmt.Appendf(nil, `{"auths": {%q: {"auth": %q}}}`, n.Strict.Host(), auth), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd.Env = []string{"SSL_CERT_FILE=" + n.caFile(), "DOCKER_CONFIG=" + docker, "HOME=" + n.dir}
	if said, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("pushing the webhook's image: %v: %s", err, said)
	}
}

// workstation runs the operator's commands, with access to the public registries.
type workstation struct {
	web *internet
	dir string
}

func (w workstation) env() []string {
	return []string{
		"HTTPS_PROXY=" + w.web.proxy, "NO_PROXY=.amazonaws.com," + address + ",127.0.0.1", "SSL_CERT_FILE=" + w.web.ca, "HOME=" + w.dir, "KUBECONFIG=" + n.Kubeconfig,
		"AWS_ACCESS_KEY_ID=AKIAIOSFODNN7EXAMPLE", "AWS_SECRET_ACCESS_KEY=none", "AWS_ENDPOINT_URL_ECR=https://" + n.Strict.Host(), "AWS_EC2_METADATA_DISABLED=true",
	}
}

func (w workstation) run(t *testing.T, want int, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(testCtx, 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, n.CLI(), args...)
	cmd.Env = w.env()
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	code := 0
	if errors.As(err, &exit) {
		code = exit.ExitCode()
	} else if err != nil {
		t.Fatal(err)
	}
	if code != want {
		t.Fatalf("privatelink %s: exit code %d, want %d\n%s%s", strings.Join(args, " "), code, want, &stdout, &stderr)
	}
	return stdout.String()
}
