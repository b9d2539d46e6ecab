// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/castai/privatelink-webhook/catalog"
	"github.com/castai/privatelink-webhook/catalog/live"
	"github.com/castai/privatelink-webhook/deploy"
	"github.com/castai/privatelink-webhook/doctor"
	"github.com/castai/privatelink-webhook/doctor/awsapi"
	"github.com/castai/privatelink-webhook/doctor/cluster"
	"github.com/castai/privatelink-webhook/doctor/identity"
	"github.com/castai/privatelink-webhook/doctor/images"
	"github.com/castai/privatelink-webhook/doctor/inside"
	"github.com/castai/privatelink-webhook/doctor/network"
	"github.com/castai/privatelink-webhook/doctor/probe"
	awsecr "github.com/castai/privatelink-webhook/mirror/ecr"
	"github.com/castai/privatelink-webhook/mirror/lock"
	"github.com/castai/privatelink-webhook/rewrite"
)

// awsFlags name the cluster and its network as AWS knows them.
type awsFlags struct {
	profile, region string
	cluster, vpc    string
	subnets         []string
	services        map[string]string
}

func (f *awsFlags) add(flags *pflag.FlagSet) {
	flags.StringVar(&f.profile, "profile", "", "AWS `PROFILE` (default: as the AWS CLI)")
	flags.StringVar(&f.region, "region", "", "`REGION` of the cluster (default: that of the registry)")
	flags.StringVar(&f.cluster, "eks-cluster", "", "`NAME` of the EKS cluster (default: as the kubeconfig tells)")
	flags.StringVar(&f.vpc, "vpc", "", "`ID` of the VPC, before there is a cluster in it")
	flags.StringSliceVar(&f.subnets, "subnet", nil, "`ID` of a subnet of the nodes (default: those of the cluster); may be repeated")
	flags.StringToStringVar(&f.services, "castai-service", nil, "`NAME=SERVICE` of CAST AI's PrivateLink, such as api=com.amazonaws.vpce.eu-central-1.vpce-svc-0123456789abcdef0, for a region that is not known here; may be repeated")
}

// insideFlags say how to look from inside.
type insideFlags struct {
	job, here bool
	hosts     []string
}

func (f *insideFlags) add(flags *pflag.FlagSet) {
	flags.BoolVar(&f.job, "probe", false, "look at DNS, TCP and TLS from a pod, by a short Job in "+deploy.Namespace)
	flags.BoolVar(&f.here, "inside", false, "look at DNS, TCP and TLS from this machine, which is in the VPC")
	flags.StringSliceVar(&f.hosts, "castai-host", nil, "`HOST:PORT` of CAST AI to look at from inside (default: those of the US, where the region is one that they serve); may be repeated")
}

// patient is what the checks are about, and what there is to look with.
type patient struct {
	*doctorFlags
	rules  *rewrite.Rules
	text   []byte // of the configuration, if there is a file
	client kubernetes.Interface
	rest   *rest.Config
	away   error // why there is no client
	job    *inside.Job
}

// close waits for what has to be cleaned up.
func (p *patient) close() {
	if p.job != nil {
		p.job.Close()
	}
}

// checks are all there are, in the order in which a person reads them.
func (p *patient) checks(c *cobra.Command) ([]doctor.Check, error) {
	ctx := c.Context()
	theCluster, err := p.clusterChecks()
	if err != nil {
		return nil, err
	}
	ofImages, err := p.imageChecks(c)
	if err != nil {
		return nil, err
	}
	inAWS, nodeRole, err := p.awsChecks(ctx)
	if err != nil {
		return nil, err
	}
	fromInside, err := p.insideChecks(ctx)
	if err != nil {
		return nil, err
	}
	return slices.Concat(theCluster, inAWS, ofImages, nodeRole, fromInside), nil
}

// clusterChecks are those of the cluster.
func (p *patient) clusterChecks() ([]doctor.Check, error) {
	expected, err := configuration(p.rules, p.text)
	if err != nil {
		return nil, err
	}
	checks := cluster.Checks(cluster.Config{
		Client: p.client, REST: p.rest, Rules: p.rules, Expected: expected,
		Names: cluster.Names{
			Namespace: deploy.Namespace, Deployment: deploy.Name, Service: deploy.Name, ConfigMap: deploy.Name, ConfigKey: deploy.ConfigKey, CASecret: deploy.CASecret,
		},
	})
	if p.away != nil {
		return doctor.Blind(checks, p.noCluster()), nil
	}
	return checks, nil
}

// installs is how the bundle is installed.
const installs = "privatelink install --config privatelink.yaml | kubectl apply -f -"

func (p *patient) noCluster() doctor.Finding {
	return doctor.NotSeen("aws eks update-kubeconfig --name CLUSTER, or leave it out with --skip "+cluster.Group, "%v", p.away)
}

// imageChecks are those of the registry.
func (p *patient) imageChecks(c *cobra.Command) ([]doctor.Check, error) {
	transfer := transferFlags{profile: p.aws.profile, plainHTTP: p.plainHTTP}
	client, own, err := transfer.registries(c, p.rules)
	if err != nil {
		return nil, err
	}
	config := images.Config{Registry: p.rules.Registry(), Client: client, Images: p.images, Platforms: p.platforms, Webhook: p.webhookImage, Copy: "privatelink mirror --config privatelink.yaml"}
	if own != nil {
		config.ECR = own
	}
	if p.lock != lock.DefaultFile {
		config.Copy += " --lock " + p.lock
	}
	return images.Checks(config), nil
}

// images are those of the lock file, or else those that the cluster names.
func (p *patient) images(ctx context.Context) (all []images.Image, err error) {
	known, err := lock.Read(p.lock)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return p.imagesOfCluster(ctx)
	case err != nil:
		return nil, err
	case known.Registry != p.rules.Registry():
		return nil, fmt.Errorf("%s is for the registry %s, not for %s: name another file with --lock", p.lock, known.Registry, p.rules.Registry())
	}
	for _, i := range known.Images {
		cut := len(known.Platforms) > 0 || i.SourceDigest != "" && i.SourceDigest != i.Digest
		all = append(all, images.Image{Target: i.Target, Digest: i.Digest, Whole: !cut})
	}
	return all, nil
}

func (p *patient) imagesOfCluster(ctx context.Context) (all []images.Image, err error) {
	if p.away != nil {
		return nil, fmt.Errorf("there is no lock file %s, and %w", p.lock, p.away)
	}
	list := catalog.New(p.rules)
	if _, err := live.Read(ctx, p.client, list); err != nil {
		return nil, err
	}
	for _, i := range list.Images() {
		if strings.HasPrefix(i.Target, p.rules.Registry()+"/") {
			all = append(all, images.Image{Target: i.Target})
		}
	}
	return all, nil
}

// platforms are those of the nodes.
func (p *patient) platforms(ctx context.Context) (all []string, err error) {
	if p.away != nil {
		return nil, p.away
	}
	nodes, err := p.client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	for _, n := range nodes.Items {
		all = append(all, n.Status.NodeInfo.OperatingSystem+"/"+n.Status.NodeInfo.Architecture)
	}
	slices.Sort(all)
	return slices.Compact(all), nil
}

// awsChecks are those of network and identity, and that of the nodes' role,
// which belongs with the registry and needs the network's.
func (p *patient) awsChecks(ctx context.Context) (checks, nodeRole []doctor.Check, err error) {
	registry, err := p.registry()
	if err != nil {
		return nil, nil, err
	}
	region := cmp.Or(p.aws.region, registry.Region)
	if p.aws.cluster == "" && p.aws.vpc == "" {
		p.aws.cluster = p.of.eksName()
	}
	loaded, fault := awsapi.Load(ctx, region, p.aws.profile)
	services, castai, err := p.services(region)
	if err != nil {
		return nil, nil, err
	}
	_, prefix, _ := strings.Cut(p.rules.Registry(), "/")
	who := identity.Config{AWS: loaded, Account: registry.Account, Region: registry.Region, Partition: registry.Partition, Prefix: prefix, Cluster: p.aws.cluster}
	checks = append(network.Checks(network.Config{
		AWS: loaded, Partition: registry.Partition, Cluster: p.aws.cluster, VPC: p.aws.vpc, Subnets: p.aws.subnets, Services: services, CASTAI: castai,
	}), identity.Checks(who)...)
	nodeRole = []doctor.Check{identity.NodeRole(who, network.Group+"/cluster-vpc", identity.Group+"/caller")}
	switch {
	case fault != nil:
		blind := doctor.NotSeen("see --profile", "%v", fault)
		return doctor.Blind(checks, blind), doctor.Blind(nodeRole, blind), nil
	case region == "":
		blind := doctor.NotSeen("name the region with --region, or leave it out with --skip network,identity,registry/node-role", "the registry %s is none of ECR, and does not tell the region", p.rules.Registry())
		return doctor.Blind(checks, blind), doctor.Blind(nodeRole, blind), nil
	}
	return checks, nodeRole, nil
}

// registry takes the registry's name apart, which tells nothing where it is not
// ECR.
func (p *patient) registry() (awsecr.Host, error) {
	if !p.rules.OnECR() {
		return awsecr.Host{Partition: "aws"}, nil
	}
	return awsecr.ParseHost(p.rules.Registry())
}

// services are those that the VPC needs endpoints for.
func (p *patient) services(region string) (ofAWS, ofCASTAI []network.Service, err error) {
	needed, err := deploy.NeededEndpoints()
	if err != nil {
		return nil, nil, err
	}
	for _, s := range needed.AWS {
		ofAWS = append(ofAWS, network.Service{Name: s.Service, Gateway: s.Type == "Gateway", Required: s.Required, Why: s.Why})
	}
	names := needed.Regions[region]
	if len(p.aws.services) > 0 {
		names = p.aws.services
	}
	for _, s := range needed.CASTAI {
		if full, ok := names[s.Name]; ok {
			ofCASTAI = append(ofCASTAI, network.Service{Name: s.Name, FullName: full, Required: true, Why: s.Why})
		}
	}
	for name := range p.aws.services {
		if !slices.ContainsFunc(ofCASTAI, func(s network.Service) bool { return s.Name == name }) {
			return nil, nil, usageError{fmt.Errorf("--castai-service %s=...: there is no such service; there are api, grpc, api-grpc, artifacts, kvisor and telemetry", name)}
		}
	}
	return ofAWS, ofCASTAI, nil
}

// insideChecks look from a pod, or from here.
func (p *patient) insideChecks(ctx context.Context) ([]doctor.Check, error) {
	var c inside.Config
	registry, err := p.registry()
	if err != nil {
		return nil, err
	}
	if p.rules.OnECR() {
		c.ECR, c.S3 = ecrHosts(registry)
	} else {
		host, _, _ := strings.Cut(p.rules.Registry(), "/")
		c.ECR = []probe.Target{{Host: host, Port: 443}}
	}
	if c.CASTAI, err = p.castaiHosts(cmp.Or(p.aws.region, registry.Region)); err != nil {
		return nil, err
	}
	switch {
	case p.inside.job && p.inside.here:
		return nil, usageError{errors.New("--probe and --inside: from a pod or from this machine? Give one of them")}
	case p.inside.here:
		c.Look = inside.Here()
	case p.inside.job:
		image, err := p.webhookImage(ctx)
		if err != nil {
			c.Look = inside.Here() // to be blind, not unwanted
			return doctor.Blind(inside.Checks(c), doctor.NotSeen("the probe runs the image of the installed webhook: "+installs, "%v", err)), nil
		}
		p.job = inside.ByJob(p.client, image, deploy.Namespace)
		c.Look = p.job.Look
	}
	return inside.Checks(c), nil
}

// webhookImage is what the Deployment runs.
func (p *patient) webhookImage(ctx context.Context) (string, error) {
	if p.away != nil {
		return "", p.away
	}
	ctx, cancel := context.WithTimeout(ctx, p.options.Timeout)
	defer cancel()
	d, err := p.client.AppsV1().Deployments(deploy.Namespace).Get(ctx, deploy.Name, metav1.GetOptions{})
	if err != nil {
		return "", err
	}
	return d.Spec.Template.Spec.Containers[0].Image, nil
}

// ecrHosts are where pulls go: for a token, for manifests, and for layers.
// https://docs.aws.amazon.com/AmazonECR/latest/userguide/vpc-endpoints.html
func ecrHosts(h awsecr.Host) (ecr, s3 []probe.Target) {
	suffix := "amazonaws.com"
	if _, after, ok := strings.Cut(h.Name, "."+h.Region+"."); ok && !h.DualStack {
		suffix = after
	}
	return []probe.Target{{Host: "api.ecr." + h.Region + "." + suffix, Port: 443}, {Host: h.Name, Port: 443}},
		[]probe.Target{{Host: "prod-" + h.Region + "-starport-layer-bucket.s3." + h.Region + "." + suffix, Port: 443}}
}

// castaiHosts are the hosts of CAST AI in the US, unless others are named: those
// of other places are not known here.
func (p *patient) castaiHosts(region string) (targets []probe.Target, err error) {
	for _, h := range p.inside.hosts {
		t, err := probe.Parse(h)
		if err != nil {
			return nil, usageError{fmt.Errorf("--castai-host: %w", err)}
		}
		targets = append(targets, t)
	}
	needed, err := deploy.NeededEndpoints()
	if _, known := needed.Regions[region]; len(targets) > 0 || !known {
		return targets, err
	}
	for _, s := range needed.CASTAI {
		if s.Host != "" {
			targets = append(targets, probe.Target{Host: s.Host, Port: 443})
		}
	}
	return targets, err
}

// configuration is the webhook configuration of the bundle for these rules.
func configuration(rules *rewrite.Rules, text []byte) (*admissionv1.MutatingWebhookConfiguration, error) {
	bundle, err := deploy.Render(deploy.Options{Rules: rules, Config: text})
	if err != nil {
		return nil, err
	}
	for documents := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(bundle), 4096); ; {
		var c admissionv1.MutatingWebhookConfiguration
		if err := documents.Decode(&c); err != nil {
			return nil, fmt.Errorf("the bundle has no webhook configuration: %w", err)
		}
		if c.Kind == "MutatingWebhookConfiguration" {
			return &c, nil
		}
	}
}

// installed reads the configuration that the cluster has: who asks what is wrong
// need not know where the file is.
func installed(c *cobra.Command, of *clusterFlags) (*rewrite.Rules, []byte, error) {
	client, err := of.client()
	if err != nil {
		return nil, nil, errors.Join(errors.New("give --registry PREFIX, or --config FILE"), err)
	}
	m, err := client.CoreV1().ConfigMaps(deploy.Namespace).Get(c.Context(), deploy.Name, metav1.GetOptions{})
	if err != nil {
		return nil, nil, usageError{fmt.Errorf("the cluster has no configuration to go by: give --registry PREFIX, or --config FILE: %w", err)}
	}
	text := []byte(m.Data[deploy.ConfigKey])
	rules, err := rewrite.Load(fmt.Sprintf("ConfigMap %s/%s", deploy.Namespace, deploy.Name), text)
	if err != nil {
		return nil, nil, usageError{err}
	}
	return rules, text, nil
}
