# SPDX-License-Identifier: Apache-2.0
"""Runs moto's server with the behavior of AWS that the tests need and moto lacks.

Each part replaces or adds one function, and describes what AWS does. The arguments
are those of moto_server.
"""

import json
import re

import moto.codebuild.responses
import moto.iam.models
from moto.core.exceptions import AccessDeniedError
from moto.core.responses import ActionResult
from moto.ec2.models import ec2_backends
from moto.ec2.models.elastic_network_interfaces import NetworkInterface
from moto.ec2.models.instances import Instance
from moto.ec2.models.route_tables import RouteTable
from moto.ec2.models.security_groups import SecurityGroupRule
from moto.ec2.models.subnets import Subnet
from moto.ec2.models.vpcs import VPCBackend, VPCEndPoint
from moto.ec2.responses.monitoring import Monitoring
from moto.ec2.responses.vpcs import VPCs
from moto.ecr.responses import ECRResponse
from moto.eks.models import EKSBackend
from moto.iam.access_control import AssumedRoleAccessKey, IAMPolicy, IAMRequest, IAMUserAccessKey, PermissionResult
from moto.iam.exceptions import NotFoundException
from moto.iam.responses import IamResponse
from moto.server import main


# Only the managed policies for pulling images are needed. With all of them, each
# reset takes seconds.
moto.iam.models.aws_managed_policies_data = json.dumps(
    {name: p for name, p in json.loads(moto.iam.models.aws_managed_policies_data).items() if "ContainerRegistry" in name}
)


def simulate_principal_policy(self):
    """Evaluates the policies of a user and its groups, or of a role.

    moto evaluates policies to authorize requests, but does not have this action.
    Conditions, permissions boundaries and resource policies are not supported.
    https://docs.aws.amazon.com/IAM/latest/APIReference/API_SimulatePrincipalPolicy.html
    """
    arn = self._get_param("PolicySourceArn")
    found = re.fullmatch(r"arn:[^:]+:iam::\d+:(user|role)/(?:.*/)?([^/]+)", arn)
    if not found:
        raise NotFoundException(f"Invalid Entity Arn: {arn} does not clearly define entity type and name.")
    kind, name = found.groups()
    if (self.backend.get_user(name) if kind == "user" else self.backend.get_role(name)).arn != arn:
        raise NotFoundException(f"The {kind} with the ARN {arn} cannot be found.")
    # Created without a key: only collect_policies is used.
    owner = object.__new__(IAMUserAccessKey if kind == "user" else AssumedRoleAccessKey)
    owner.account_id, owner.partition = self.current_account, self.partition
    setattr(owner, f"_owner_{kind}_name", name)
    policies = [IAMPolicy(p) for p in owner.collect_policies()]

    def decide(action, resource):
        results = {p.is_action_permitted(action, resource) for p in policies}
        if PermissionResult.DENIED in results:
            return "explicitDeny"
        return "allowed" if PermissionResult.PERMITTED in results else "implicitDeny"

    return ActionResult(
        {
            "EvaluationResults": [
                {"EvalActionName": action, "EvalResourceName": resource, "EvalDecision": decide(action, resource)}
                for action in self._get_param("ActionNames", [])
                for resource in self._get_param("ResourceArns", None) or ["*"]
            ],
            "IsTruncated": False,
        }
    )


IamResponse.simulate_principal_policy = simulate_principal_policy


def raise_access_denied(self):
    """Raises the error in the format of the service.

    moto uses one format for all. IAM and STS clients find no error code in it, and
    EC2 has its own code.
    https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html
    """
    error = AccessDeniedError(user_arn=self._access_key.arn, action=self._action)
    if self._service == "ec2":
        error.description = error.description.replace("AccessDenied<", "UnauthorizedOperation<")
    elif self._service in ("iam", "sts"):
        error.description = error.description.replace("<Errors>", "").replace("</Errors>", "")
    elif self._service in ("eks", "organizations"):
        error.description = json.dumps({"__type": "AccessDeniedException", "message": error.message})
    elif self._service == "route53":
        error.description = f"<ErrorResponse><Error><Code>AccessDenied</Code><Message>{error.message}</Message></Error></ErrorResponse>"
    raise error


IAMRequest._raise_access_denied = raise_access_denied


def check_signature(self, check=IAMRequest.check_signature):
    """Skips services with a REST API, for which moto computes other signatures."""
    if self._service not in ("eks", "route53"):
        check(self)


IAMRequest.check_signature = check_signature


def endpoint_state(endpoint):
    """Returns the state in the tag test:state, or else that of moto.

    In moto all endpoints are available at once, and cannot be rejected.
    """
    tags = {t["key"]: t["value"] for t in endpoint.get_tags()}
    return tags.get("test:state", endpoint._state)


VPCEndPoint.state = property(endpoint_state, lambda endpoint, state: setattr(endpoint, "_state", state))


def modify_vpc_endpoint(self, modify=VPCs.modify_vpc_endpoint):
    """Sets PrivateDnsEnabled, which moto ignores."""
    enabled = self._get_bool_param("PrivateDnsEnabled")
    if enabled is not None:
        self.ec2_backend.describe_vpc_endpoints([self._get_param("VpcEndpointId")])[0].private_dns_enabled = enabled
    return modify(self)


VPCs.modify_vpc_endpoint = modify_vpc_endpoint


def create_vpc_endpoint(self, *args, create=VPCBackend.create_vpc_endpoint, **kwargs):
    """Describes the network interfaces of an endpoint, as EC2 does."""
    endpoint = create(self, *args, **kwargs)
    for interface in endpoint.network_interface_ids or []:
        self.enis[interface].interface_type = "vpc_endpoint"
        self.enis[interface].description = f"VPC Endpoint Interface {endpoint.id}"
    return endpoint


VPCBackend.create_vpc_endpoint = create_vpc_endpoint


def describe_vpc_endpoint_services(self, service_names, *args, describe=VPCBackend.describe_vpc_endpoint_services, **kwargs):
    """Knows the services of other accounts, and those of AWS that moto lacks."""
    known = self._collect_default_endpoint_services(self.account_id, self.region_name)
    for name in service_names or []:
        if name not in [s["ServiceName"] for s in known] and re.fullmatch(rf"com\.amazonaws\.(vpce\.)?{self.region_name}\.[a-z0-9.-]+", name):
            interface = next(s for s in known if s["ServiceName"].endswith(".ecr.dkr"))
            known.append({**interface, "ServiceName": name, "ServiceId": f"vpce-svc-{len(known):017x}"})
    return describe(self, service_names, *args, **kwargs)


VPCBackend.describe_vpc_endpoint_services = describe_vpc_endpoint_services


def add_filters(model, **values):
    """Adds filters to the action that describes a model."""

    def get_filter_value(self, name, *args, get=model.get_filter_value):
        return values[name](self) if name in values else get(self, name, *args)

    model.get_filter_value = get_filter_value


add_filters(Subnet, **{"map-public-ip-on-launch": lambda s: str(s.map_public_ip_on_launch).lower()})
add_filters(NetworkInterface, **{"interface-type": lambda i: i.interface_type})
add_filters(
    RouteTable,
    **{"route.destination-prefix-list-id": lambda t: [r.destination_prefix_list.id for r in t._routes.values() if r.destination_prefix_list]},
)


def create_instance(self, *args, create=Instance.__init__, **kwargs):
    """Gives an instance the groups of its first interface. moto has only those of the request itself."""
    create(self, *args, **kwargs)
    self.security_groups = self.security_groups or list(self.nics[0].group_set)


Instance.__init__ = create_instance


# A rule keeps its description whatever its source is. moto has it for CIDR blocks only.
SecurityGroupRule.description = property(lambda self: (self.ip_range or self.source_group or {}).get("Description"))


# AWS leaves out the association of an interface without a public address. moto sends an
# empty one, which the Terraform provider takes for an address.
NetworkInterface.association = property(lambda self, association=NetworkInterface.association.fget: association(self) or None)


# Detailed monitoring is on. moto has no metrics of instances.
Monitoring.monitor_instances = lambda self: ActionResult({"InstanceMonitorings": []})


def create_repository_creation_template(self):
    """Stores a template. moto has none, and does not replicate images.

    https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_CreateRepositoryCreationTemplate.html
    """
    template = {**json.loads(self.body), "createdAt": 0, "updatedAt": 0}
    templates(self)[template["prefix"]] = template
    return ActionResult({"registryId": self.current_account, "repositoryCreationTemplate": template})


def describe_repository_creation_templates(self):
    wanted = self._get_param("prefixes") or list(templates(self))
    found = [t for prefix, t in templates(self).items() if prefix in wanted]
    return ActionResult({"registryId": self.current_account, "repositoryCreationTemplates": found})


def delete_repository_creation_template(self):
    template = templates(self).pop(self._get_param("prefix"))
    return ActionResult({"registryId": self.current_account, "repositoryCreationTemplate": template})


def templates(response):
    return response.ecr_backend.__dict__.setdefault("templates", {})


ECRResponse.create_repository_creation_template = create_repository_creation_template
ECRResponse.describe_repository_creation_templates = describe_repository_creation_templates
ECRResponse.delete_repository_creation_template = delete_repository_creation_template


def validate_source(source, validate=moto.codebuild.responses._validate_required_params_source):
    """Accepts a project without a source, which has no location.

    https://docs.aws.amazon.com/codebuild/latest/APIReference/API_ProjectSource.html
    """
    validate({"location": "none", **source} if source["type"] == "NO_SOURCE" else source)


moto.codebuild.responses._validate_required_params_source = validate_source


def create_project(self, create=moto.codebuild.responses.CodeBuildResponse.create_project):
    """Keeps the limit of concurrent builds, which moto ignores."""
    result = create(self)
    project = self.codebuild_backend.codebuild_projects[self._get_param("name")]
    project.project_metadata["concurrentBuildLimit"] = self._get_param("concurrentBuildLimit")
    return result


moto.codebuild.responses.CodeBuildResponse.create_project = create_project


def create_cluster(self, *args, create=EKSBackend.create_cluster, **kwargs):
    """Adds the VPC of the subnets and the cluster security group, as EKS does.

    The group allows all traffic from itself. moto returns only the request. The tags
    test:endpoint and test:ca are the address and the authority of the API server, for
    which moto has random text.
    https://docs.aws.amazon.com/eks/latest/userguide/sec-group-reqs.html
    """
    cluster = create(self, *args, **kwargs)
    tags = cluster.tags or {}
    cluster.endpoint = tags.get("test:endpoint", cluster.endpoint)
    if "test:ca" in tags:
        cluster.certificate_authority = {"data": tags["test:ca"]}
    given = cluster.resources_vpc_config
    ec2 = ec2_backends[self.account_id][self.region_name]
    vpc = ec2.get_subnet(given["subnetIds"][0]).vpc_id
    group = ec2.create_security_group(f"eks-cluster-sg-{cluster.name}", "EKS created security group", vpc_id=vpc)
    ec2.authorize_security_group_ingress(group.id, "-1", None, None, [], source_groups=[{"GroupId": group.id}], vpc_id=vpc)
    cluster.resources_vpc_config = {
        "endpointPublicAccess": True,
        "endpointPrivateAccess": False,
        **given,
        "vpcId": vpc,
        "clusterSecurityGroupId": group.id,
    }
    return cluster


EKSBackend.create_cluster = create_cluster


def update_cluster_config(self, name, resources_vpc_config, *args, update=EKSBackend.update_cluster_config, **kwargs):
    """Keeps the settings that are not in the request. moto drops them."""
    if resources_vpc_config and name in self.clusters:
        resources_vpc_config = {**self.clusters[name].resources_vpc_config, **resources_vpc_config}
    return update(self, name, resources_vpc_config, *args, **kwargs)


EKSBackend.update_cluster_config = update_cluster_config

main()
