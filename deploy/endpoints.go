// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	_ "embed"
	"encoding/json"
)

//go:embed terraform/endpoints.json
var endpoints []byte

// Endpoints are the VPC endpoints that an isolated cluster with CAST AI needs. The
// Terraform module creates them, and privatelink doctor checks them, from one file.
type Endpoints struct {
	// AWS are the services of AWS.
	AWS []struct {
		// Service is the part of the service name after com.amazonaws.REGION, such as ecr.api.
		Service string
		// Type is Interface or Gateway.
		Type string
		// Required is set if no isolated cluster works without the service.
		Required bool
		// Why names the clients of the service.
		Why string
	}
	// CASTAI are the services of CAST AI.
	CASTAI []struct {
		// Name is a short name of this project, such as api.
		Name string
		// Host is the public host name that private DNS resolves; "" if it is not known.
		Host string
		// Why names the clients of the service.
		Why string
	}
	// Regions are the full service names of CAST AI by region and Name.
	// https://github.com/castai/privatelink-aws
	Regions map[string]map[string]string
}

// NeededEndpoints returns the endpoints of terraform/endpoints.json.
func NeededEndpoints() (e Endpoints, err error) { return e, json.Unmarshal(endpoints, &e) }
