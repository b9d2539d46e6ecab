// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"encoding/json"
	"fmt"
	"os"
)

// Context is the name of the context in all kubeconfigs.
const Context = "privatelink-test"

// WriteKubeconfig writes a file that makes any Kubernetes client the owner of
// token, for example one that Token returned. It carries the authority, so it
// may be moved. JSON is YAML, and needs no encoder beyond the standard library.
func (c *Cluster) WriteKubeconfig(path, token string) error {
	return c.writeKubeconfig(path, c.URL, token)
}

func (c *Cluster) writeKubeconfig(path, server, token string) error {
	const name = Context
	type object map[string]any
	text, err := json.MarshalIndent(object{
		"apiVersion":      "v1",
		"kind":            "Config",
		"current-context": name,
		"clusters":        []object{{"name": name, "cluster": object{"server": server, "certificate-authority-data": c.ca}}},
		"users":           []object{{"name": name, "user": object{"token": token}}},
		"contexts":        []object{{"name": name, "context": object{"cluster": name, "user": name}}},
	}, "", "  ")
	if err != nil {
		return fmt.Errorf("kubeconfig: %w", err)
	}
	return os.WriteFile(path, append(text, '\n'), 0o600)
}
