// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"errors"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/castai/privatelink-webhook/internal/doctor"
)

// refusedPod sends a pod of the webhook's Deployment as a dry run, and returns why it is
// refused, nil if it is admitted.
func (k *checker) refusedPod(ctx context.Context) error {
	refused, err := k.refusalOnce.Get(ctx, func(ctx context.Context) (error, error) {
		d, err := k.getDeployment(ctx)
		if err != nil {
			return nil, err
		}
		pod := &corev1.Pod{ObjectMeta: *d.Spec.Template.ObjectMeta.DeepCopy(), Spec: *d.Spec.Template.Spec.DeepCopy()}
		pod.GenerateName, pod.Namespace = d.Name+"-doctor-", d.Namespace
		_, err = k.Client.CoreV1().Pods(d.Namespace).Create(ctx, pod, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		return err, nil
	})
	if err != nil {
		return err
	}
	return refused
}

const violatesPodSecurity = "violates PodSecurity"

func (k *checker) podSecurity(ctx context.Context) doctor.Finding {
	d, err := k.getDeployment(ctx)
	switch {
	case apierrors.IsNotFound(err):
		return doctor.OKf("not installed yet")
	case err != nil:
		return k.requestFailed("reading the Deployment", err)
	}
	switch err := k.refusedPod(ctx); {
	case err != nil && isNoRefusal(err):
		return k.requestFailed("sending a pod as a dry run", err)
	case err != nil && strings.Contains(err.Error(), violatesPodSecurity):
		return doctor.Failf(fmt.Sprintf("kubectl label --overwrite namespace %s pod-security.kubernetes.io/enforce=%s", d.Namespace, levelFor(d.Spec.Template.Spec)), "the pods of the Deployment are refused: %v", err)
	}
	return doctor.OKf("Pod Security admits the pods of the Deployment")
}

// levelFor returns the Pod Security level that the bundle sets on the namespace.
// https://kubernetes.io/docs/concepts/security/pod-security-standards/
func levelFor(pod corev1.PodSpec) string {
	if pod.HostNetwork {
		return "privileged"
	}
	return "restricted"
}

func (k *checker) admission(ctx context.Context) doctor.Finding {
	switch err := k.refusedPod(ctx); {
	case err == nil:
		return doctor.OKf("the pods of the Deployment are admitted")
	case apierrors.IsNotFound(err):
		return doctor.OKf("not installed yet")
	case isNoRefusal(err):
		return k.requestFailed("sending a pod as a dry run", err)
	default:
		remedy := k.refusalRemedy(ctx, k.Names.Namespace, err.Error())
		if d, err := k.getDeployment(ctx); err == nil && refusedReplicas(d) != "" {
			remedy += "\n" + k.restartCommand()
		}
		return doctor.Failf(remedy, "the pods of the Deployment are refused: %v", err)
	}
}

// isNoRefusal reports whether a request failed before admission: the user has no
// permission, or the API server was not reached.
func isNoRefusal(err error) bool {
	_, answered := errors.AsType[*apierrors.StatusError](err)
	return !answered || isUserForbidden(err) || apierrors.IsUnauthorized(err)
}
