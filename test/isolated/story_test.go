// SPDX-License-Identifier: Apache-2.0

//go:build linux && isolated && story

package isolated

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/castai/privatelink-webhook/deploy"
	"github.com/castai/privatelink-webhook/test/aws/emulator"
	"github.com/castai/privatelink-webhook/test/e2e/framework/helm"
	"github.com/castai/privatelink-webhook/test/release/snapshot"
)

const storyHead = `<!-- written by make story UPDATE=1 -->
# End-to-end transcript

This page is the transcript of one run of ` + "`make story`" + `, on two cores. A machine has a release, kubectl, Helm, Terraform and a shell; no Go, no container
engine and no AWS CLI. The cluster is real, and its node has no route to the internet. AWS is an emulator, and CAST AI is its workloads, with
stand-ins for their images: [Verification](../verification.md#stand-ins) lists what stands in for what.

Some lines of the output are shown, and after a command its time, if that was a second or more.
`

// The versions of CAST AI's agent before and after its release.
const agentBefore, agentAfter = "0.169.0", "0.170.0"

// story is one customer, from a download to an empty account.
type story struct {
	transcript
	account *emulator.Customer
	cli     *emulator.CLI // of another machine
	web     *internet
	sources []string // images of the sets and the workloads
	prefix  string   // of the private registry
}

// Everything that an operator does, in one go, with the release of the last commit. Each
// chapter needs the one before it.
func TestStory(t *testing.T) {
	s := newStory(t)
	for _, chapter := range []struct {
		name string
		run  func(*testing.T)
	}{
		{"download", s.download},
		{"network", s.createNetwork},
		{"mirror", s.mirror},
		{"webhook", s.installWebhook},
		{"umbrella", s.onboardByUmbrella},
		{"release", s.followRelease},
		{"scripts", s.onboardByScripts},
		{"faults", s.mendFaults},
		{"upgrade", s.upgradeUnderLoad},
		{"uninstall", s.uninstall},
	} {
		if !t.Run(chapter.name, chapter.run) {
			t.FailNow()
		}
	}
	s.tell("Everything together: %s.", since(s.begin))
	s.compare(t, storyHead)
	reportf("\nthe story: %s", since(s.begin))
}

func newStory(t *testing.T) *story {
	t.Helper()
	around := startVPCEndpoints(t)
	s := &story{prefix: n.Strict.Host() + "/castai"}
	s.begin = time.Now()
	s.work = emptyMachine(t)
	workloads := s.work.path("workloads")
	if err := os.Mkdir(workloads, 0o755); err != nil {
		t.Fatal(err)
	}
	for i, text := range scriptWorkloads(t, s.prefix) {
		s.work.write(t, map[string]string{fmt.Sprintf("workloads/%d.yaml", i): text})
	}
	s.sources = strings.Fields(privatelink(t, "images", "--registry", s.prefix, "--set", "umbrella,phase1,phase2", "-f", workloads, "-o", "sources"))
	s.work.write(t, map[string]string{"umbrella.yaml": umbrella(s.sources)})
	s.web = openInternet(t, publicHosts(s.sources))
	publishAll(t, s.web, s.sources)
	s.publishAgent(t, agentBefore)
	addAuthorities(t, s.web, around.ca)
	s.work.connect(t, s.web)
	s.account = startGuideAccount(t)
	s.cli = emulator.StartCLIForTest(t, s.account.URL)
	s.work.more = []string{
		"PATH=/bin", "REGISTRY=" + s.prefix, "AWS_REGION=us-east-1", "CHECKPOINT_DISABLE=1", "TF_CLI_CONFIG_FILE=/home/terraformrc",
		"TF_CLI_ARGS=-no-color", "TF_CLI_ARGS_apply=-parallelism=30", "TF_CLI_ARGS_destroy=-parallelism=30",
	}
	for name, value := range s.account.Environment() {
		s.work.more = append(s.work.more, name+"="+value)
	}
	return s
}

// scriptWorkloads are those of the console's scripts for a private registry.
func scriptWorkloads(t *testing.T, prefix string) []string {
	t.Helper()
	texts := workloadsFor(t, prefix)
	for i := range texts {
		// A listed variable that holds no image has an alert of its own, for an hour.
		texts[i] = strings.ReplaceAll(texts[i], "        - {name: SCANNERS_IMAGE, value: v1.164.8}\n", "")
	}
	return texts
}

// publishAgent plays CAST AI, which releases a version of its agent.
func (s *story) publishAgent(t *testing.T, version string) {
	t.Helper()
	image := "us-docker.pkg.dev/castai-hub/library/agent:v" + version
	s.web.publish(t, image, behavior{})
	s.web.release(t, "castai-agent", version, image)
}

// emptyMachine has a shell, kubectl, Helm, Terraform with its provider, and the files of a
// release.
func emptyMachine(t *testing.T) *workstation {
	t.Helper()
	helmProgram, err1 := helm.Path(n.Root, storyHelm)
	terraform, err2 := exec.LookPath("terraform")
	busybox, err3 := exec.LookPath("busybox")
	archive := snapshot.Archive(n.release(), n.Version)
	checksums, err4 := os.ReadFile(filepath.Join(filepath.Dir(archive), "checksums.txt"))
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		t.Fatal(err)
	}
	w := workstationWith(t, map[string]string{
		"bin/busybox": busybox, "bin/kubectl": n.KubectlPath, "bin/helm": helmProgram, "bin/terraform": terraform,
		"home/" + filepath.Base(archive): archive,
	}, map[string]string{
		"checksums.txt": string(checksums),
		"terraformrc":   "provider_installation {\n  filesystem_mirror {\n    path = \"/providers\"\n  }\n}\n",
	})
	const null = 1<<8 | 3
	if err := errors.Join(
		os.Mkdir(filepath.Join(w.root, "dev"), 0o755), syscall.Mknod(filepath.Join(w.root, "dev", "null"), syscall.S_IFCHR|0o666, null),
		os.CopyFS(filepath.Join(w.root, "providers"), os.DirFS(n.TerraformProviders())),
	); err != nil {
		t.Fatal(err)
	}
	w.execute(t, 0, "", "busybox", "--install", "-s", "/bin")
	return w
}

func (s *story) download(t *testing.T) {
	s.chapter("One download", "The release has one archive for each platform.")
	archive := filepath.Base(snapshot.Archive("", n.Version))
	s.sh(t, "grep "+archive+" checksums.txt | sha256sum -c", ": OK")
	s.sh(t, "tar -xzf "+archive+" && mv privatelink /bin/")
	if got := s.sh(t, "privatelink version", "^privatelink "); !strings.Contains(got, n.Version) {
		t.Errorf("the release is of another version: %s", got)
	}
}

// module is the folder of Terraform's root module.
const module = "deploy/terraform/examples/existing-vpc"

func (s *story) createNetwork(t *testing.T) {
	s.chapter("Network and repositories", "The account has a VPC and a cluster. Terraform creates the endpoints, private DNS and a repository for each image.")
	s.sh(t, "privatelink images --registry $REGISTRY --set umbrella,phase1,phase2 -f workloads -o lock > privatelink.lock.yaml")
	s.sh(t, "cp privatelink.lock.yaml "+module)
	s.work.write(t, map[string]string{module + "/terraform.tfvars": fmt.Sprintf("vpc_id = %q\nsubnet_ids = [%q, %q]\nroute_table_ids = [%q, %q]\nlock_file = \"privatelink.lock.yaml\"\n",
		s.account.VPC, s.account.Subnets[0], s.account.Subnets[1], s.account.RouteTables[0], s.account.RouteTables[1])})
	s.tell("`terraform.tfvars` has `vpc_id`, `subnet_ids`, `route_table_ids` and `lock_file`.")
	s.sh(t, "terraform -chdir="+module+" init", "successfully initialized")
	s.sh(t, "terraform -chdir="+module+" apply -auto-approve", "^Apply complete")
	s.sh(t, "terraform -chdir="+module+" output -raw privatelink_yaml > privatelink.yaml")
	s.sh(t, "echo 'track: {charts: [castai-agent], newest: 1}' >> privatelink.yaml")
	s.sh(t, "privatelink doctor --config privatelink.yaml --only network,identity --eks-cluster "+s.account.Cluster, "checks?:")
}

func (s *story) mirror(t *testing.T) {
	s.chapter("Mirror", "All images go to ECR, the webhook's own and the charts as well. Only this machine reaches the public registries.")
	s.sh(t, "privatelink mirror --config privatelink.yaml --set umbrella,phase1,phase2 -f workloads --track --charts", " copied")
	s.sh(t, "privatelink doctor --config privatelink.yaml --only registry", "checks?:")
	s.sh(t, "privatelink chart --config privatelink.yaml --push oci://$REGISTRY/charts", "pushed")
}

func (s *story) installWebhook(t *testing.T) {
	s.chapter("Webhook", "Helm installs the chart from ECR. The password of ECR comes from `aws ecr get-login-password` on a machine that has the AWS CLI.")
	s.work.write(t, map[string]string{"password": n.Strict.Token()})
	s.sh(t, "helm registry login ${REGISTRY%%/*} --username AWS --password-stdin < password", "Succeeded")
	s.sh(t, "privatelink chart values --config privatelink.yaml > values.yaml")
	s.sh(t, "helm install privatelink-webhook oci://$REGISTRY/charts/privatelink-webhook --namespace castai-privatelink --create-namespace --values values.yaml --wait", "^Pulled", "^STATUS")
	s.sh(t, "kubectl label namespace castai-privatelink pod-security.kubernetes.io/enforce=restricted")
	s.sh(t, "kubectl create namespace castai-agent")
	s.sh(t, s.doctor()+" --wait 2m", "checks?:")
}

// doctor is the command that runs all checks.
func (s *story) doctor() string {
	return "privatelink doctor --config privatelink.yaml --eks-cluster " + s.account.Cluster + " --probe"
}

func (s *story) onboardByUmbrella(t *testing.T) {
	s.chapter("CAST AI, by the umbrella chart", "The workloads name the public images.")
	o := observe(t)
	s.sh(t, "kubectl apply -f umbrella.yaml")
	s.sh(t, "kubectl -n castai-agent wait deployment --all --for=condition=Available --timeout=150s")
	s.sh(t, "helm install castai-agent oci://$REGISTRY/charts/castai-agent --version "+agentBefore+" --namespace castai-agent --wait", "^Pulled", "^STATUS")
	s.tell("%s.", o)
	o.clean(t)
	o.had(t, s.sources, s.prefix)
}

func (s *story) followRelease(t *testing.T) {
	s.chapter("A release of CAST AI", "A new version of the agent appears. The schedule's next run copies it, and then the upgrade finds it.")
	s.publishAgent(t, agentAfter)
	o := observe(t)
	s.sh(t, "privatelink mirror --config privatelink.yaml --track --charts", " copied")
	s.sh(t, "helm upgrade castai-agent oci://$REGISTRY/charts/castai-agent --version "+agentAfter+" --namespace castai-agent --wait", "^Pulled", "^STATUS")
	s.sh(t, "privatelink mirror --config privatelink.yaml --track --charts", " copied")
	s.tell("%s.", o)
	o.clean(t)
	if want := s.prefix + "/agent:v" + agentAfter; !o.images[want] {
		t.Errorf("no pod had the image %s", want)
	}
	s.sh(t, "privatelink status", "^Next", "missing")
}

func (s *story) onboardByScripts(t *testing.T) {
	s.chapter("CAST AI, by the scripts of the console", "The cluster is onboarded again, with the workloads of both phases, their hooks and jobs.")
	s.sh(t, "kubectl delete namespace castai-agent")
	o := observe(t)
	s.sh(t, "kubectl apply -f workloads")
	begin := time.Now()
	eventually(t, 150*time.Second, complete)
	s.tell("All run or are completed %s later: %s.", since(begin), o)
	o.clean(t)
	s.sh(t, s.doctor()+" --wait 1m", "checks?:")
}

func (s *story) upgradeUnderLoad(t *testing.T) {
	s.chapter("The webhook itself", fmt.Sprintf("All the time, %d pods a second are created with public images. An upgrade, back again, and the other engine, which has no pods.", rate))
	next := n.Version + "-next"
	if err := s.publishWebhook(next); err != nil {
		t.Fatal(err)
	}
	const chart, in = "oci://$REGISTRY/charts/privatelink-webhook", " --namespace " + deploy.Namespace
	l := startLoad(t, "story")
	s.sh(t, "helm upgrade privatelink-webhook "+chart+in+" --reset-then-reuse-values --set image.tag="+next+",image.digest= --wait", "^STATUS")
	if got := kubectl(t, "", "get", "pods", "--namespace", deploy.Namespace, "-o", "jsonpath={.items[*].spec.containers[0].image}"); !strings.Contains(got, next) {
		t.Errorf("after the upgrade, pods have %s", got)
	}
	s.sh(t, "helm rollback privatelink-webhook 1"+in+" --wait", "success")
	s.sh(t, "helm install privatelink-policy "+chart+in+" --values values.yaml --set engine=policy,guard=off --wait", "^STATUS")
	s.sh(t, "until kubectl -n castai-agent run probe --image=busybox --dry-run=server -o yaml > probe.yaml && ! grep -q original-images probe.yaml; do sleep 1; done")
	s.tell("The API server has read the policy: the webhook, which would write the annotation, has nothing left to rewrite.")
	s.sh(t, "helm uninstall privatelink-webhook"+in+" --wait")
	s.sh(t, "helm upgrade privatelink-policy "+chart+in+" --reset-then-reuse-values --set guard=warn --wait", "^STATUS")
	time.Sleep(2 * time.Second) // late failures count as well
	public := l.end(t)
	s.tell("%d pods were created; %d of them had to be tried again, %d failed, and %d kept a public image. The longest creation took %s.", l.created, l.retried, l.failed, public, l.longest.Round(10*time.Millisecond))
	if l.failed > 0 || l.retried > 0 || l.created == 0 {
		t.Errorf("%d pods were created, %d tried again, %d failed; the last error: %v", l.created, l.retried, l.failed, l.lastError)
	}
}

// publishWebhook pushes the webhook's image under another version: a build that differs in
// nothing else.
func (s *story) publishWebhook(version string) error {
	binaries := map[string]string{runtime.GOARCH: n.of(runtime.GOARCH, "privatelink-webhook")}
	return n.push(testCtx, n.Strict.Host(), n.Strict.Token(), s.prefix+"/"+deploy.Image, version, binaries)
}

func (s *story) uninstall(t *testing.T) {
	s.chapter("Back to an empty account", "CAST AI goes, then the policy, then the network.")
	s.sh(t, "kubectl delete namespace castai-agent")
	s.sh(t, "helm uninstall privatelink-policy --namespace castai-privatelink --wait")
	s.sh(t, "kubectl delete namespace castai-privatelink")
	s.sh(t, "terraform -chdir="+module+" apply -auto-approve -var=force_delete=true", "^Apply complete")
	s.sh(t, "terraform -chdir="+module+" destroy -auto-approve -var=force_delete=true", "^Destroy complete")
	s.tell("Terraform does not know the repositories of the charts, which the mirror created. On a machine with the AWS CLI:")
	for _, chart := range []string{"castai-agent", "privatelink-webhook"} {
		s.aws(t, "aws ecr delete-repository --force --repository-name castai/charts/"+chart, "--endpoint-url", "https://"+n.Strict.Host(), "--ca-bundle", n.caFile())
	}
	nothingIsLeft(t)
	if left := n.Strict.Repositories(); len(left) > 0 {
		t.Errorf("left in ECR: %v", left)
	}
	if left, err := s.account.ListEndpoints(testCtx); err != nil || len(left) > 0 {
		t.Errorf("left in the account: %v %v", left, err)
	}
	s.tell("No object of the cluster, no endpoint and no repository is left.")
}

// aws runs a command of the AWS CLI. Options say where this test has the service.
func (s *story) aws(t *testing.T, command string, options ...string) {
	t.Helper()
	begin := time.Now()
	if err := s.cli.Run([]string{strings.Join(append([]string{command}, options...), " ")}); err != nil {
		t.Fatal(err)
	}
	s.show(command, "", time.Since(begin), nil)
}
