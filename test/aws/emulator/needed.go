// SPDX-License-Identifier: Apache-2.0

package emulator

import (
	"github.com/castai/privatelink-webhook/deploy"
	"github.com/castai/privatelink-webhook/internal/doctor/network"
)

// Needed are the services that the doctor looks for in a region, of AWS and of
// CAST AI.
func Needed(region string) (ofAWS, ofCASTAI []network.Service, err error) {
	needed, err := deploy.NeededEndpoints()
	if err != nil {
		return nil, nil, err
	}
	for _, s := range needed.AWS {
		ofAWS = append(ofAWS, network.Service{Name: s.Service, Gateway: s.Type == "Gateway", Required: s.Required, Why: s.Why})
	}
	for _, s := range needed.CASTAI {
		if full := needed.Regions[region][s.Name]; full != "" {
			ofCASTAI = append(ofCASTAI, network.Service{Name: s.Name, FullName: full, Required: true, Why: s.Why})
		}
	}
	return ofAWS, ofCASTAI, nil
}
