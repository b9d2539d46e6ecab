// SPDX-License-Identifier: Apache-2.0

package chart

// readme is README.md of the chart above the table of values.
const readme = `<!-- generated: go test ./deploy/chart -update -->

# privatelink-webhook

Runs CAST AI on Amazon EKS clusters that have no route to the internet. The chart installs an admission webhook that rewrites the images of pods in
` + "`castai-agent`" + ` to your private registry, and a guard that reports pods that still have a public image.

## Install

The image of the webhook must be in your registry. The chart needs one value, the prefix of that registry:

` + "```sh example" + `
helm install privatelink-webhook oci://$REGISTRY/charts/privatelink-webhook --version 0.2.0 \
  --namespace castai-privatelink --create-namespace --set registry=$REGISTRY
` + "```" + `

Use any release name and any namespace, but not a namespace whose pods are rewritten. The chart does not have the namespace: Helm creates it. With
` + "`hostNetwork`" + `, the namespace must not have a label ` + "`pod-security.kubernetes.io/enforce`" + ` other than ` + "`privileged`" + `.

There are no hooks, and no certificate is rendered: the webhook, or cert-manager, publishes it in the cluster.

## Configuration

Rules, kept prefixes, namespaces and environment variables are values. ` + "`privatelink chart values`" + ` prints those of a configuration file, after it has
checked them together, which a schema cannot do:

` + "```sh example" + `
privatelink chart values --config privatelink.yaml > values.yaml
helm upgrade privatelink-webhook oci://$REGISTRY/charts/privatelink-webhook --namespace castai-privatelink --values values.yaml
` + "```" + `

## Values
`

// page is docs/reference/chart.md above the table of values.
const page = `# Values of the Helm chart

<!-- generated: go test ./deploy/chart -update -->

` + "`privatelink chart --to FOLDER`" + ` writes the chart that this version of the command carries. ` + "`privatelink chart --push oci://PREFIX`" + ` pushes it to
your registry and prints the command that pulls it. Its [README](../../deploy/chart/privatelink-webhook/README.md) is part of it.

The chart is generated from the kustomize tree in ` + "`deploy/`" + `. With the same values, ` + "`helm install`" + ` and ` + "`privatelink install --values FILE`" + ` create the same
objects, apart from the namespace, which Helm creates with ` + "`--create-namespace`" + `.

- Values that the [configuration file](configuration.md) has mean the same. Convert between both with ` + "`privatelink chart values --config FILE`" + ` and
  ` + "`privatelink chart config --values FILE`" + `.
- Unknown values are refused. Only ` + "`global`" + ` and ` + "`enabled`" + `, which parent charts set, are accepted without an effect.
- A list replaces the default. Objects are merged with the default, and ` + "`null`" + ` removes a member. A value of this table that is ` + "`null`" + ` has its default.
- A value that is left out has its default also with ` + "`helm upgrade --reuse-values`" + ` from a version that did not have it.
- The chart renders the same with and without a cluster. The version of Kubernetes only decides whether ` + "`engine: policy`" + ` is refused.
`
