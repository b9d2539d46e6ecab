// SPDX-License-Identifier: Apache-2.0

//go:build linux && isolated

package isolated

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/castai/privatelink-webhook/deploy"
	"github.com/castai/privatelink-webhook/test/e2e/framework/cluster"
	"github.com/castai/privatelink-webhook/test/isolated/machine"
)

func tlsOf(c tls.Certificate) *tls.Config { return &tls.Config{Certificates: []tls.Certificate{c}} }

// The mirror, from an empty ECR to a running cluster and to the next upgrade, on a
// workstation that has nothing but privatelink and kubectl: no Go, no container engine, no
// other client of registries or of AWS, and no shell. The public registries are behind a
// proxy that only the workstation uses. ECR creates no repository on push, and has an API
// for that.
func TestMirror(t *testing.T) {
	prefix := n.Strict.Host() + "/mirrored"
	texts := workloadsFor(t, prefix)
	wanted := []string{"--config", "privatelink.yaml", "--set", "phase1,phase2"}
	files := map[string]string{"privatelink.yaml": "registry: " + prefix + "\nrepositories: {tagMutability: IMMUTABLE}\n"}
	for i := range texts {
		name := fmt.Sprintf("%d.yaml", i)
		files[name], wanted = texts[i], append(wanted, "-f", name)
	}
	work := bareWorkstation(t, files)
	sources := strings.Fields(work.run(t, 0, append([]string{"images", "-o", "sources"}, wanted...)...))
	web := openInternet(t, publicHosts(sources))
	publishAll(t, web, sources)
	work.connect(t, web)
	images := len(sources) + 1 // the webhook's own
	expected := work.run(t, 0, append([]string{"images", "-o", "lock"}, wanted...)...)
	if out := work.run(t, 3, append([]string{"check"}, wanted...)...); !strings.Contains(out, fmt.Sprintf("%d missing", images)) {
		t.Errorf("an empty registry:\n%s", out)
	}

	begin := time.Now()
	out := work.run(t, 0, append([]string{"mirror"}, wanted...)...)
	reportf("\nthe mirror: %s", strings.TrimSpace(out[strings.LastIndexByte(strings.TrimSpace(out), '\n')+1:]))
	if got := work.read(t, "privatelink.lock.yaml"); got != expected {
		t.Errorf("the lock file differs from that of privatelink images -o lock:\n%s\n%s", got, expected)
	}
	before := web.connections()
	if before == 0 {
		t.Error("no connection to a public registry: the test does not observe the copies")
	}
	work.run(t, 0, "check", "--config", "privatelink.yaml")
	work.run(t, 0, "mirror", "--config", "privatelink.yaml")
	if after := web.connections(); after != before {
		t.Errorf("a run with nothing to do connected to public registries %d times", after-before)
	}

	step := func(name string, run func(*testing.T)) {
		if !t.Run(name, run) {
			t.FailNow() // the next step needs it
		}
	}
	step("an onboarding from it runs, and no pull fails", func(t *testing.T) {
		o := observe(t)
		work.kubectl(t, work.run(t, 0, "install", "--config", "privatelink.yaml"), "apply", "-f", "-")
		ready(t)
		image := prefix + "/" + deploy.Image + ":" + n.Version
		pinned := image + "@" + n.Strict.Tag("mirrored/"+deploy.Image, n.Version).String()
		if got := kubectl(t, "", "get", "deployment", deploy.Name, "--namespace", deploy.Namespace, "-o", "jsonpath={.spec.template.spec.containers[0].image}"); got != pinned {
			t.Errorf("the webhook's image is %s, want %s", got, pinned)
		}
		onboardWith(t, texts)
		eventually(t, 150*time.Second, complete)
		reportf("with the mirrored images: %s; webhook and all run or are completed %s after the start of the mirror", o, since(begin))
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
		work.write(t, map[string]string{"next.yaml": strings.ReplaceAll(texts[0], "/agent:v0.161.1", "/agent:v0.162.0")})
		web.publish(t, "us-docker.pkg.dev/castai-hub/library/agent:v0.162.0", behavior{})
		if out := work.run(t, 3, "check", "--config", "privatelink.yaml", "-f", "next.yaml"); !strings.Contains(out, "missing  "+prefix+"/agent:v0.162.0") || !strings.Contains(out, " 1 missing") {
			t.Error(out)
		}
		work.run(t, 0, "mirror", "--config", "privatelink.yaml", "--lock", "next.lock.yaml", "-f", "next.yaml")
	})
	step("prune leaves what pods use", func(t *testing.T) {
		out := work.run(t, 0, "prune", "--config", "privatelink.yaml", "--keep", "1")
		if strings.Contains(out, prefix+"/agent@") {
			t.Errorf("the agent in use would go:\n%s", out)
		}
		kubectl(t, "", "delete", "namespace", agentNamespace, "--timeout=90s")
		if out = work.run(t, 0, "prune", "--config", "privatelink.yaml", "--keep", "1"); !strings.Contains(out, prefix+"/agent@") || !strings.Contains(out, "nothing was deleted") {
			t.Errorf("the old agent would not go:\n%s", out)
		}
		if out = work.run(t, 0, "prune", "--config", "privatelink.yaml", "--not-in", "privatelink.lock.yaml", "--yes", "--context", cluster.Context); !strings.Contains(out, "deleted\n") {
			t.Error(out)
		}
		work.run(t, 0, "check", "--config", "privatelink.yaml")
		if out := work.run(t, 3, "check", "--config", "privatelink.yaml", "--lock", "next.lock.yaml"); !strings.Contains(out, "missing  "+prefix+"/agent:v0.162.0") {
			t.Error(out)
		}
	})
	step("upgrades find their images, which a schedule copied ahead of them", func(t *testing.T) { upgradeBehindSchedule(t, work, prefix, texts[0]) })
	work.kubectl(t, work.run(t, 0, "install", "--config", "privatelink.yaml"), "delete", "-f", "-", "--timeout=90s")
	clean(t)
}

// workloadsFor are the workloads for another private registry: one of them names the
// registry itself, as the charts' global.registry does.
func workloadsFor(t *testing.T, prefix string) []string {
	t.Helper()
	texts := workloads(t)
	for i := range texts {
		texts[i] = strings.ReplaceAll(texts[i], Registry+"/us-docker.pkg.dev/", prefix+"/us-docker.pkg.dev/")
	}
	return texts
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

// workstation runs the operator's commands, with access to the public registries.
type workstation struct {
	web *internet
	dir string
	// root is the root folder of a machine with the commands alone, whose home is dir; ""
	// is this machine.
	root string
	more []string // environment of the commands, in addition
}

// bareWorkstation returns a machine that has the commands, files in its home, and nothing
// else. It is not connected to the internet yet.
func bareWorkstation(t *testing.T, files map[string]string) *workstation {
	t.Helper()
	return workstationWith(t, map[string]string{"bin/privatelink": n.CLI(), "bin/kubectl": n.KubectlPath}, files)
}

// workstationWith returns a machine that has these programs, files in its home, and nothing
// else. It is not connected to the internet yet.
func workstationWith(t *testing.T, programs, files map[string]string) *workstation {
	t.Helper()
	w := &workstation{dir: "/home", root: t.TempDir()}
	programs = maps.Clone(programs)
	programs["etc/hosts"] = machine.Hosts
	for name, from := range programs {
		content, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		to := filepath.Join(w.root, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(to), 0o755), os.WriteFile(to, content, 0o755)); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(os.MkdirAll(filepath.Join(w.root, "tmp"), 0o755), os.MkdirAll(filepath.Join(w.root, w.dir), 0o755)); err != nil {
		t.Fatal(err)
	}
	w.write(t, map[string]string{"kubeconfig": kubectl(t, "", "config", "view", "--raw", "--flatten")})
	w.write(t, files)
	return w
}

// connect connects a bare workstation to the internet.
func (w *workstation) connect(t *testing.T, web *internet) {
	t.Helper()
	ca, err := os.ReadFile(web.ca)
	if err != nil {
		t.Fatal(err)
	}
	w.write(t, map[string]string{"ca.crt": string(ca)})
	w.web = web
}

// path returns the path of a file of the home here.
func (w workstation) path(name string) string { return filepath.Join(w.root, w.dir, name) }

func (w workstation) write(t *testing.T, files map[string]string) {
	t.Helper()
	for name, text := range files {
		if err := os.WriteFile(w.path(name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func (w workstation) read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(w.path(name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func (w workstation) env() []string {
	env := []string{"HOME=" + w.dir, "KUBECONFIG=" + n.Kubeconfig, "AWS_ACCESS_KEY_ID=AKIAIOSFODNN7EXAMPLE", "AWS_SECRET_ACCESS_KEY=none", "AWS_ENDPOINT_URL_ECR=https://" + n.Strict.Host(), "AWS_EC2_METADATA_DISABLED=true"}
	if w.web != nil {
		env = append(env, "HTTPS_PROXY="+w.web.proxy, "NO_PROXY=.amazonaws.com,"+address+",127.0.0.1", "SSL_CERT_FILE="+w.web.ca)
	}
	if w.root != "" {
		env = append(env, "KUBECONFIG=/home/kubeconfig", "SSL_CERT_FILE=/home/ca.crt")
	}
	return append(env, w.more...)
}

// command returns a command of the workstation, which runs in the home of a bare one.
func (w workstation) command(ctx context.Context, program string, args ...string) *exec.Cmd {
	if w.root != "" {
		cmd := exec.CommandContext(ctx, "/bin/"+program, args...)
		cmd.Env, cmd.Dir, cmd.SysProcAttr = w.env(), w.dir, &syscall.SysProcAttr{Chroot: w.root}
		return cmd
	}
	cmd := exec.CommandContext(ctx, map[string]string{"privatelink": n.CLI(), "kubectl": n.KubectlPath}[program], args...)
	cmd.Env = w.env()
	return cmd
}

// run runs privatelink, and returns its output.
func (w workstation) run(t *testing.T, want int, args ...string) string {
	t.Helper()
	return w.execute(t, want, "", "privatelink", args...)
}

// kubectl runs kubectl with the input.
func (w workstation) kubectl(t *testing.T, stdin string, args ...string) {
	t.Helper()
	w.execute(t, 0, stdin, "kubectl", args...)
}

func (w workstation) execute(t *testing.T, want int, stdin, program string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(testCtx, 3*time.Minute)
	defer cancel()
	cmd := w.command(ctx, program, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &stdout, &stderr
	if code := exitCode(t, cmd); code != want {
		t.Fatalf("%s %s: exit code %d, want %d\n%s%s", program, strings.Join(args, " "), code, want, &stdout, &stderr)
	}
	return stdout.String()
}

// exitCode runs a command, and returns its exit code.
func exitCode(t *testing.T, cmd *exec.Cmd) int {
	t.Helper()
	err := cmd.Run()
	if _, isExit := errors.AsType[*exec.ExitError](err); err != nil && !isExit {
		t.Fatalf("%s: %v", cmd, err)
	}
	return cmd.ProcessState.ExitCode()
}
