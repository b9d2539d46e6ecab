// SPDX-License-Identifier: Apache-2.0

package kubeconfig

import (
	"context"
	"maps"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// completionTimeout is the time after which a shell is told that there is nothing to
// complete.
const completionTimeout = 3 * time.Second

// Contexts returns the names of the contexts, for a shell that completes them.
func (o Options) Contexts() []string {
	raw, err := o.loader().RawConfig()
	if err != nil {
		return nil
	}
	return slices.Sorted(maps.Keys(raw.Contexts))
}

// Namespaces returns the namespaces of the cluster, for a shell that completes them. There
// are none if the cluster does not answer in time. A login command that the kubeconfig
// names is not waited for either, although it does not end with the context. It must not
// read the terminal: what is typed belongs to the shell.
func (o Options) Namespaces(ctx context.Context) []string {
	config, err := o.loader().ClientConfig()
	if err != nil {
		return nil
	}
	if login := config.ExecProvider; login != nil {
		login.StdinUnavailable, login.StdinUnavailableMessage = true, "the shell completes a command"
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, completionTimeout)
	defer cancel()
	answer := make(chan []string, 1)
	go func() {
		var names []string
		if list, err := client.CoreV1().Namespaces().List(ctx, metav1.ListOptions{}); err == nil {
			for _, n := range list.Items {
				names = append(names, n.Name)
			}
		}
		answer <- names
	}()
	select {
	case names := <-answer:
		return names
	case <-ctx.Done():
		return nil
	}
}
