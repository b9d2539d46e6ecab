// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	_ "embed"
	"encoding/json"
)

//go:embed terraform/endpoints.json
var endpoints []byte

// Endpoints are the VPC endpoints that an isolated cluster with CAST AI needs.
// The Terraform module reads the same file, so what it builds is what the doctor
// looks for.
type Endpoints struct {
	// AWS are the services of AWS.
	AWS []struct {
		// Service is its name behind com.amazonaws.REGION, such as ecr.api.
		Service string
		// Type is Interface or Gateway.
		Type string
		// Required services are those that no such cluster does without.
		Required bool
		// Why names who needs it.
		Why string
	}
	// CASTAI are the services of CAST AI.
	CASTAI []struct {
		// Name is ours, such as api.
		Name string
		// Host is the public name that private DNS answers for; "" where it is not
		// known.
		Host string
		// Why names who needs it.
		Why string
	}
	// Regions has the full service names by region and Name.
	// https://github.com/castai/privatelink-aws
	Regions map[string]map[string]string
}

// NeededEndpoints returns the table.
func NeededEndpoints() (e Endpoints, err error) { return e, json.Unmarshal(endpoints, &e) }
