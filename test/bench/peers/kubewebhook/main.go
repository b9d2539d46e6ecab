// SPDX-License-Identifier: Apache-2.0

// Command kubewebhook is the peer of the benchmark that does the same job in
// the usual way: kubewebhook's typed path, which decodes the pod into corev1
// types, lets a mutator change it, and finds the patch by comparing.
package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"

	kwhhttp "github.com/slok/kubewebhook/v2/pkg/http"
	"github.com/slok/kubewebhook/v2/pkg/model"
	"github.com/slok/kubewebhook/v2/pkg/webhook/mutating"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "kubewebhook:", err)
		os.Exit(1)
	}
}

// run serves until it is killed.
func run(args []string) error {
	if len(args) != 3 {
		return errors.New("want ADDRESS CERTIFICATE KEY")
	}
	hook, err := mutating.NewWebhook(mutating.WebhookConfig{ID: "bench", Obj: &corev1.Pod{}, Mutator: mutating.MutatorFunc(mutate)})
	if err != nil {
		return err
	}
	handler, err := kwhhttp.HandlerFor(kwhhttp.HandlerConfig{Webhook: hook})
	if err != nil {
		return err
	}
	s := http.Server{
		Addr:              args[0],
		Handler:           handler,
		TLSConfig:         &tls.Config{MinVersion: tls.VersionTLS13, NextProtos: []string{"http/1.1"}},
		ReadHeaderTimeout: 5 * time.Second,
	}
	return s.ListenAndServeTLS(args[1], args[2])
}

func mutate(_ context.Context, _ *model.AdmissionReview, o metav1.Object) (*mutating.MutatorResult, error) {
	pod, ok := o.(*corev1.Pod)
	if !ok {
		return nil, fmt.Errorf("%T is not a pod", o)
	}
	for _, containers := range [][]corev1.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
		for i := range containers {
			containers[i].Image = rewrite(containers[i].Image)
		}
	}
	return &mutating.MutatorResult{MutatedObject: pod}, nil
}

const registry = "123456789012.dkr.ecr.us-east-1.amazonaws.com/castai/"

// rewrite knows two prefixes, which is all that the benchmark needs.
func rewrite(image string) string {
	for _, prefix := range []string{"us-docker.pkg.dev/castai-hub/library/", "ghcr.io/castai/images/"} {
		if rest, ok := strings.CutPrefix(image, prefix); ok {
			return registry + rest
		}
	}
	return image
}
