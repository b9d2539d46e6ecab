// SPDX-License-Identifier: Apache-2.0

//go:build linux && isolated

package isolated

import (
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/castai/privatelink-webhook/deploy"
	"github.com/castai/privatelink-webhook/test/aws/emulator"
	"github.com/castai/privatelink-webhook/test/integration/docs"
)

const guidePage = "docs/guide/onboarding.md"

// The onboarding guide, from an AWS account that has a VPC and a cluster only, to running
// pods, and back. All its commands run as written, in order, in one shell. Differences:
//
//   - The values of the user replace the placeholders of the page.
//   - The commands that need a CAST AI account do not run. In their place, workloads with
//     all the images of the set umbrella are created, by their public names.
//   - The account is in an emulator, but its ECR is that of the node: what Terraform does
//     not create there cannot be pushed to. The cluster and its nodes in the account are
//     entries, whose endpoint leads to the API server of the node.
//   - After the mirror, a plan of Terraform must be empty.
func TestGuide(t *testing.T) {
	fences, err := docs.Fences(n.Root, guidePage)
	if err != nil {
		t.Fatal(err)
	}
	around := startVPCEndpoints(t)
	sources := strings.Fields(privatelink(t, "images", "--registry", n.Strict.Host()+"/castai", "--set", "umbrella", "-o", "sources"))
	web := openInternet(t, publicHosts(sources))
	publishAll(t, web, sources)
	addAuthorities(t, web, around.ca)
	account := startGuideAccount(t)

	dir, bin := t.TempDir(), guidePrograms(t)
	manifests := filepath.Join(t.TempDir(), "castai.yaml")
	if err := errors.Join(docs.Checkout(n.Root, bin, dir), os.WriteFile(manifests, []byte(umbrella(sources)), 0o600)); err != nil {
		t.Fatal(err)
	}
	env := append(workstation{web: web, dir: dir}.env(), "KUBECONFIG="+filepath.Join(dir, "kubeconfig"), "PATH="+bin+":"+os.Getenv("PATH"),
		"TF_CLI_CONFIG_FILE="+terraformSettings(t), "TF_CLI_ARGS=-no-color", "CHECKPOINT_DISABLE=1",
		"TF_CLI_ARGS_apply=-auto-approve -parallelism=30", "TF_CLI_ARGS_destroy=-auto-approve -parallelism=30")
	for name, value := range account.Environment() {
		env = append(env, name+"="+value)
	}
	t.Cleanup(func() { restoreAfterGuide(t) })
	o, begin := observe(t), time.Now()
	commands, err := docs.Run(testCtx, guideFences(t, fences, account, manifests), docs.Guide, dir, env)
	if err != nil {
		t.Fatal(err)
	}
	reportf("\nthe onboarding guide: %d commands in %s; %s", commands, since(begin), o)
	o.clean(t)
	o.had(t, sources, n.Strict.Host()+"/castai")
	for _, name := range n.Strict.Repositories() {
		if strings.HasPrefix(name, "castai/") {
			t.Errorf("left in ECR: %s", name)
		}
	}
	if left, err := account.ListEndpoints(testCtx); err != nil || len(left) > 0 {
		t.Errorf("left in the account: %v %v", left, err)
	}
	nothingIsLeft(t)
}

// restoreAfterGuide removes what a run that failed has left in the cluster.
func restoreAfterGuide(t *testing.T) {
	t.Helper()
	if !t.Failed() {
		return
	}
	kubectl(t, "", "delete", "mutatingwebhookconfiguration", deploy.ConfigurationName, "--ignore-not-found")
	kubectl(t, privatelink(t, "install", "--registry", Registry), "delete", "--ignore-not-found", "-f", "-", "--timeout=90s")
	clean(t)
}

// guideFences prepares the fences of the page: see TestGuide.
func guideFences(t *testing.T, fences []docs.Fence, account *emulator.Customer, manifests string) (run []docs.Fence) {
	t.Helper()
	values := map[string]string{
		"CLUSTER": account.Cluster, "vpc-0123456789abcdef0": account.VPC,
		"subnet-0123456789abcdef0": account.Subnets[0], "subnet-0123456789abcdef1": account.Subnets[1],
		"rtb-0123456789abcdef0": account.RouteTables[0], "rtb-0123456789abcdef1": account.RouteTables[1],
	}
	used := map[string]bool{}
	placeholder := regexp.MustCompile(`\bCLUSTER\b|\b(vpc|subnet|rtb)-0123456789abcdef\d\b`)
	connected, planned := false, false
	for _, f := range fences {
		switch {
		case f.Mark == docs.Guide:
			text := placeholder.ReplaceAllStringFunc(strings.Join(f.Lines, "\n"), func(p string) string {
				used[p] = true
				return values[p]
			})
			if strings.HasPrefix(text, "privatelink mirror ") {
				planned = true
				text += "\nterraform plan -input=false -detailed-exitcode"
			}
			f.Lines = strings.Split(text, "\n")
		case f.Mark == "castai" && !connected:
			connected = true
			f.Mark, f.Lines = docs.Guide, []string{
				"kubectl apply -f " + manifests,
				"kubectl -n castai-agent wait deployment --all --for=condition=Available --timeout=150s",
			}
		case f.Mark == "castai": // another way to the same
			continue
		default:
			t.Errorf("%s: mark %s: TestGuide runs fences that are marked guide", f, f.Mark)
		}
		run = append(run, f)
	}
	if len(used) != len(values) || !connected || !planned {
		t.Fatalf("placeholders %v of %d; CAST AI is connected: %t; images are mirrored: %t", used, len(values), connected, planned)
	}
	return run
}

// umbrella is a Deployment for each image.
func umbrella(images []string) string {
	var text strings.Builder
	for i, image := range images {
		text.WriteString(deploymentOf(fmt.Sprintf("castai-%d", i), image) + "---\n")
	}
	return text.String()
}

// deploymentOf is a Deployment with an image in the namespace of CAST AI. Its stand-in
// stays, also where that of a job would end: in a back-off, a Deployment is not available.
func deploymentOf(name, image string) string {
	return fmt.Sprintf(`apiVersion: apps/v1
kind: Deployment
metadata: {name: %[1]s, namespace: castai-agent}
spec:
  selector: {matchLabels: {app: %[1]s}}
  template:
    metadata: {labels: {app: %[1]s}}
    spec: {terminationGracePeriodSeconds: 0, containers: [{name: main, image: %[2]q, env: [{name: STAND_IN_ENDS, value: ""}]}]}
`, name, image)
}

// addAuthorities adds authorities to those that the workstation trusts.
func addAuthorities(t *testing.T, web *internet, authorities []byte) {
	t.Helper()
	f, err := os.OpenFile(web.ca, os.O_APPEND|os.O_WRONLY, 0)
	if err == nil {
		_, err = f.Write(authorities)
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
}

// startGuideAccount starts the account of n.Strict, with a VPC and a cluster in two zones.
func startGuideAccount(t *testing.T) *emulator.Customer {
	t.Helper()
	aws, stop, err := emulator.Start(testCtx, "MOTO_ACCOUNT_ID="+n.Strict.Account)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	account, err := emulator.NewAccount(testCtx, aws, emulator.Options{Account: n.Strict.Account})
	if err != nil {
		t.Fatal(err)
	}
	account.Subnets = account.Subnets[:2]
	endpoint, ca := startEKSEndpoint(t, aws, account.Cluster)
	if err := account.CreateCluster(testCtx, endpoint, ca); err != nil {
		t.Fatal(err)
	}
	return account
}

// startEKSEndpoint starts an endpoint of the API server that accepts the tokens of `aws
// eks get-token`: signed requests to STS, which it sends, as that of EKS does.
// https://github.com/kubernetes-sigs/aws-iam-authenticator#how-does-it-work
//
// It speaks HTTP/1.1, which port-forwards need.
func startEKSEndpoint(t *testing.T, aws, cluster string) (endpoint string, ca []byte) {
	t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", n.Kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	authority, err := rest.TLSConfigFor(config)
	if err != nil {
		t.Fatal(err)
	}
	transport, err := rest.HTTPWrappersForConfig(config, &http.Transport{TLSClientConfig: authority})
	if err != nil {
		t.Fatal(err)
	}
	to, err := url.Parse(config.Host)
	if err != nil {
		t.Fatal(err)
	}
	forward := &httputil.ReverseProxy{Transport: transport, FlushInterval: -1, Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(to)
		r.Out.Header.Del("Authorization")
	}}
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := checkEKSToken(r, aws, cluster); err != nil {
			http.Error(w, err.Error(), http.StatusUnauthorized)
			return
		}
		forward.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	return server.URL, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
}

func checkEKSToken(r *http.Request, aws, cluster string) error {
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer k8s-aws-v1.")
	signed, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil || !ok || !strings.HasPrefix(string(signed), aws+"/") || !strings.Contains(string(signed), "Action=GetCallerIdentity") {
		return fmt.Errorf("no token of the cluster: %w: %s", err, signed)
	}
	request, err := http.NewRequestWithContext(r.Context(), http.MethodGet, string(signed), nil)
	if err != nil {
		return err
	}
	request.Header.Set("X-K8s-Aws-Id", cluster)
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	if answer.StatusCode != http.StatusOK {
		err = errors.New("STS: " + answer.Status)
	}
	return errors.Join(err, answer.Body.Close())
}

// guidePrograms returns a folder with the programs of the workstation.
func guidePrograms(t *testing.T) string {
	t.Helper()
	python, err := emulator.Install(testCtx)
	if err != nil {
		t.Fatal(err)
	}
	bin := t.TempDir()
	if err := errors.Join(
		os.Symlink(n.CLI(), filepath.Join(bin, "privatelink")), os.Symlink(n.KubectlPath, filepath.Join(bin, "kubectl")),
		os.Symlink(filepath.Join(filepath.Dir(python), "aws"), filepath.Join(bin, "aws")),
	); err != nil {
		t.Fatal(err)
	}
	if _, err := exec.LookPath("terraform"); err != nil {
		t.Fatal("install Terraform 1.11: ", err)
	}
	return bin
}

// terraformSettings returns a file with the settings of the command line of Terraform.
func terraformSettings(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "terraformrc")
	text := fmt.Sprintf("provider_installation {\n  filesystem_mirror {\n    path = %q\n  }\n}\n", n.TerraformProviders())
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}
