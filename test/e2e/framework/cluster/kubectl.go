// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"
)

// Kubectl runs kubectl as the administrator, with the cluster's folder as its
// home so that no file of the user's decides what a test sees. A --kubeconfig
// among args makes it another user. The error carries what kubectl complained.
func (c *Cluster) Kubectl(ctx context.Context, stdin io.Reader, args ...string) ([]byte, error) {
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, c.KubectlPath, args...)
	cmd.Env = []string{"HOME=" + c.dir, "KUBECONFIG=" + c.Kubeconfig, "PATH=" + os.Getenv("PATH")}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, &stdout, &stderr
	cmd.WaitDelay = time.Second
	err := c.spawn.start(cmd)
	if err == nil {
		err = cmd.Wait()
	}
	if err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx) // and not "signal: killed", which is caused by the context
		}
		return stdout.Bytes(), fmt.Errorf("kubectl %s: %w: %s", strings.Join(args, " "), err, bytes.TrimSpace(stderr.Bytes()))
	}
	return stdout.Bytes(), nil
}

// Token is a fresh token of a service account, valid for the API server's
// default of an hour.
func (c *Cluster) Token(ctx context.Context, namespace, serviceAccount string) (string, error) {
	out, err := c.Kubectl(ctx, nil, "create", "token", "--namespace", namespace, serviceAccount)
	return string(bytes.TrimSpace(out)), err
}
