// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// The messages of the API server's admission plugins, which name the object in the way.
// https://github.com/kubernetes/kubernetes/tree/v1.37.2/plugin/pkg/admission
var (
	exceededQuota   = regexp.MustCompile(`exceeded quota: ([^,]+), requested: ([^ ]+), used: [^ ]+, limited: ([^ ]+)`)
	unlimitedQuota  = regexp.MustCompile(`failed quota: ([^:]+): must specify ([a-z0-9.,-]+)`)
	outsideRange    = regexp.MustCompile(`(minimum|maximum) ([a-z0-9.-]+) usage per (Container|Pod) is [^,]+, but (?:request|limit) is ([0-9A-Za-z.]+)`)
	noPriorityClass = regexp.MustCompile(`no PriorityClass with name ([^ ]+) was found`)
	noAccount       = regexp.MustCompile(`error looking up service account [^ ]+: serviceaccount "[^"]+" not found`)
	deniedByPolicy  = regexp.MustCompile(`(?:ValidatingAdmissionPolicy|policy) '([^']+)' with binding '([^']+)' denied`)
	failedWebhook   = regexp.MustCompile(`failed calling webhook "([^"]+)"`)
	deniedByWebhook = regexp.MustCompile(`admission webhook "([^"]+)" denied`)
)

// refusalRemedy selects a remedy by the message with which a pod in a namespace is
// refused.
func (k *checker) refusalRemedy(ctx context.Context, namespace, message string) string {
	find := func(r *regexp.Regexp) []string { return r.FindStringSubmatch(message) }
	if strings.Contains(message, violatesPodSecurity) {
		return fmt.Sprintf("kubectl label --overwrite namespace %s pod-security.kubernetes.io/enforce=privileged\n(some components of CAST AI need access to the node)", namespace)
	}
	if m := find(exceededQuota); m != nil {
		return raiseQuota(namespace, m[1], m[2], m[3])
	}
	if m := find(unlimitedQuota); m != nil {
		return defaultLimits(namespace, strings.Split(m[2], ","))
	}
	if m := find(outsideRange); m != nil {
		return k.widenRange(ctx, namespace, limitRangeFault{bound: m[1], resource: corev1.ResourceName(m[2]), kind: corev1.LimitType(m[3]), wanted: m[4]})
	}
	if m := find(noPriorityClass); m != nil {
		return fmt.Sprintf("create it, or give the pods another priorityClassName: kubectl create priorityclass %s --value=1000000", m[1])
	}
	if find(noAccount) != nil {
		return k.installCommand()
	}
	if m := find(deniedByPolicy); m != nil {
		return k.policyRemedy(m[1], m[2])
	}
	if m := find(failedWebhook); m != nil {
		return k.failedWebhookRemedy(ctx, m[1], message)
	}
	if m := find(deniedByWebhook); m != nil {
		return fmt.Sprintf("the webhook %s of %s refuses the pod: correct the pod or the policy behind it, or exclude the namespace %s in its namespaceSelector", m[1], k.webhookOwner(ctx, m[1]), namespace)
	}
	return "correct what the message names: it refuses a small pod with a restricted security context"
}

// morePods is how many pods more a raised quota admits: one that waits for it, those that
// a rollout of two replicas has in addition (a new one, and an old one that drains: it
// counts until it is gone), and one of the doctor. With less, a rollout can wait for
// minutes, because a ReplicaSet that was refused tries less and less often.
const morePods = 4

// raiseQuota sets the limits of a ResourceQuota so that morePods fit.
func raiseQuota(namespace, name, requested, limited string) string {
	limits := quantities(limited)
	var hard []string
	for r, want := range quantities(requested) {
		limit := limits[r]
		for range morePods {
			limit.Add(want)
		}
		hard = append(hard, fmt.Sprintf("%q:%q", r, limit.String()))
	}
	slices.Sort(hard)
	return fmt.Sprintf("kubectl -n %s patch resourcequota %s --type=merge -p '{\"spec\":{\"hard\":{%s}}}'", namespace, name, strings.Join(hard, ","))
}

// quantities parses "limits.cpu=1,pods=2".
func quantities(list string) map[string]resource.Quantity {
	all := map[string]resource.Quantity{}
	for item := range strings.SplitSeq(list, ",") {
		name, value, _ := strings.Cut(item, "=")
		if q, err := resource.ParseQuantity(value); err == nil {
			all[name] = q
		}
	}
	return all
}

// defaultLimits gives containers that have none the requests and limits that a quota
// demands.
func defaultLimits(namespace string, demanded []string) string {
	values := map[string]string{"cpu": "100m", "memory": "128Mi", "ephemeral-storage": "128Mi"}
	defaults := map[string][]string{}
	for _, d := range demanded {
		field := "defaultRequest"
		name, isLimit := strings.CutPrefix(d, "limits.")
		if isLimit {
			field = "default"
		}
		name = strings.TrimPrefix(name, "requests.")
		if value, ok := values[name]; ok {
			defaults[field] = append(defaults[field], name+": "+value)
		}
	}
	var fields []string
	for _, field := range []string{"default", "defaultRequest"} {
		if len(defaults[field]) > 0 {
			fields = append(fields, fmt.Sprintf("%s: {%s}", field, strings.Join(defaults[field], ", ")))
		}
	}
	return fmt.Sprintf(`give containers without them a default, or set the resources of the pods:
kubectl -n %s apply -f - <<EOF
apiVersion: v1
kind: LimitRange
metadata: {name: privatelink-defaults}
spec: {limits: [{type: Container, %s}]}
EOF`, namespace, strings.Join(fields, ", "))
}

// limitRangeFault is a bound of a LimitRange that a pod does not keep.
type limitRangeFault struct {
	bound    string // minimum or maximum
	resource corev1.ResourceName
	kind     corev1.LimitType
	wanted   string // by the pod
}

// widenRange sets the bound of the LimitRange that refuses the pod, whose name the
// message does not have.
func (k *checker) widenRange(ctx context.Context, namespace string, f limitRangeFault) string {
	list, err := k.Client.CoreV1().LimitRanges(namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Sprintf("allow %s %s per %s in the LimitRange (%v)", f.wanted, f.resource, f.kind, err)
	}
	field := "max"
	if f.bound == "minimum" {
		field = "min"
	}
	for _, r := range list.Items {
		for i, l := range r.Spec.Limits {
			bounds := l.Max
			if field == "min" {
				bounds = l.Min
			}
			if _, ok := bounds[f.resource]; ok && l.Type == f.kind {
				return fmt.Sprintf(`kubectl -n %s patch limitrange %s --type=json -p '[{"op":"replace","path":"/spec/limits/%d/%s/%s","value":%q}]'`, namespace, r.Name, i, field, f.resource, f.wanted)
			}
		}
	}
	return fmt.Sprintf("set the %s of the pods within the LimitRange: kubectl -n %s describe limitranges", f.resource, namespace)
}

// policyRemedy is that for a policy which denies a pod.
func (k *checker) policyRemedy(policy, binding string) string {
	if k.Guard != nil && policy == k.Guard.Name {
		return "the guard denies public images: see the check cluster/rewrite, and privatelink explain for the pod"
	}
	return fmt.Sprintf("correct the pod, or exclude the namespace in matchResources.namespaceSelector of the binding: kubectl edit validatingadmissionpolicybinding %s", binding)
}

// failedWebhookRemedy is that for a webhook which the API server cannot call.
func (k *checker) failedWebhookRemedy(ctx context.Context, name, message string) string {
	if k.Expected != nil && slices.ContainsFunc(k.Expected.Webhooks, func(w webhookEntry) bool { return w.Name == name }) {
		return k.remedyFor(ctx, message)
	}
	owner := k.webhookOwner(ctx, name)
	switch {
	case owner.configuration == "":
		return fmt.Sprintf("the webhook is not one of the bundle, and belongs to %s", owner)
	case owner.isDead:
		return fmt.Sprintf("its Service %s does not exist, so it was left behind: kubectl delete %s %s", owner.service, owner.kind, owner.configuration)
	}
	return fmt.Sprintf("the webhook %s of %s does not serve: repair its Service %s, or exclude the namespace in its namespaceSelector", name, owner, owner.service)
}
