// SPDX-License-Identifier: Apache-2.0

//go:build linux && isolated

package isolated

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"helm.sh/helm/v4/pkg/chart/common"
	chartv2 "helm.sh/helm/v4/pkg/chart/v2"
	chartutil "helm.sh/helm/v4/pkg/chart/v2/util"
)

// upgradeBehindSchedule plays CAST AI, which releases a chart and later upgrades to it,
// and the schedule, which runs in between. The schedule's runs are those of a connected
// machine: the node has no route to the public registries.
func upgradeBehindSchedule(t *testing.T, work *workstation, prefix, workload string) {
	const lock = "configmap://castai-mirror/privatelink-lock"
	for _, file := range []string{"namespace.yaml", "account.yaml", "lock.yaml"} {
		kubectl(t, "", "apply", "-f", filepath.Join(n.Root, "deploy", "mirror", file))
	}
	t.Cleanup(func() { kubectl(t, "", "delete", "namespace", "castai-mirror", "--timeout=90s") })
	work.write(t, map[string]string{"schedule.yaml": "registry: " + prefix + "\nrepositories: {tagMutability: IMMUTABLE}\ntrack: {charts: [castai-agent], newest: 1}\n"})
	run := func() string {
		return work.run(t, 0, "mirror", "--config", "schedule.yaml", "--track", "--no-webhook-image", "--lock", lock)
	}

	o, begin := observe(t), time.Now()
	for _, version := range []string{"0.170.0", "0.171.0", "0.172.0"} {
		image := "us-docker.pkg.dev/castai-hub/library/agent:v" + version
		work.web.publish(t, image, behavior{})
		work.web.release(t, "castai-agent", version, image)
		if out := run(); !strings.Contains(out, "1 copied") {
			t.Fatalf("the schedule's run after version %s:\n%s", version, out)
		}
		before := work.web.connections()
		if out := run(); !strings.Contains(out, "0 copied") {
			t.Errorf("a run without news:\n%s", out)
		}
		if got := work.web.connections() - before; got != 1 {
			t.Errorf("a run without news made %d connections, want that to the charts alone", got)
		}
		kubectl(t, strings.ReplaceAll(workload, "/agent:v0.161.1", "/agent:v"+version), "apply", "-f", "-")
		eventually(t, 60*time.Second, complete)
		o.mu.Lock()
		if !o.images[prefix+"/agent:v"+version] {
			t.Errorf("no pod has version %s from the registry", version)
		}
		o.mu.Unlock()
	}
	reportf("three upgrades behind the schedule: %s; the last one runs after %s", o, since(begin))
	o.clean(t)
}

// release adds a version of a chart with one image to the repository of charts.
func (i *internet) release(t *testing.T, name, version, image string) {
	t.Helper()
	chart := &chartv2.Chart{
		Metadata:  &chartv2.Metadata{APIVersion: "v2", Name: name, Version: version},
		Templates: []*common.File{{Name: "templates/deployment.yaml", Data: []byte(deploymentOf(name, image))}},
	}
	archive, err := chartutil.Save(chart, i.files)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(i.files, "index.yaml")
	index, err := os.ReadFile(file)
	if os.IsNotExist(err) {
		index = []byte("apiVersion: v1\nentries:\n  " + name + ":\n")
	} else if err != nil {
		t.Fatal(err)
	}
	index = fmt.Appendf(index, "  - {name: %s, version: %s, urls: [%s]}\n", name, version, filepath.Base(archive))
	if err := os.WriteFile(file, index, 0o600); err != nil {
		t.Fatal(err)
	}
}
