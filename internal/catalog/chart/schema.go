// SPDX-License-Identifier: Apache-2.0

package chart

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	v2 "helm.sh/helm/v4/pkg/chart/v2"
)

// schemaURL is the address that Helm gives to values.schema.json, against which
// relative references are resolved.
const schemaURL = "file:///values.schema.json"

// validate validates the values of a chart and its subcharts by values.schema.json,
// as Helm does, with one difference: what a schema refers to outside itself, a URL
// or a file, is neither fetched nor read. It accepts every value, with a warning.
func validate(c *v2.Chart, values map[string]any) (warnings []string, err error) {
	v := validator{}
	if err := v.chart(c, values); err != nil {
		return nil, err
	}
	if len(v.faults) > 0 {
		return nil, fmt.Errorf("values.schema.json refuses the values: %s: change them with --chart-set KEY=… or --values FILE", strings.Join(v.faults, "; "))
	}
	for _, address := range slices.Sorted(maps.Keys(v.external)) {
		warnings = append(warnings, "values.schema.json refers to "+address+", which is not fetched: these values are not validated")
	}
	return warnings, nil
}

type validator struct {
	faults   []string
	external map[string]bool
}

// chart validates the values of a chart and, if there are any, of its subcharts.
func (v *validator) chart(c *v2.Chart, values map[string]any) error {
	if c.Schema != nil {
		if err := v.schema(c.Schema, values); err != nil {
			return fmt.Errorf("%s/values.schema.json: %w", c.ChartFullPath(), err)
		}
	}
	for _, sub := range c.Dependencies() {
		switch of := values[sub.Name()].(type) {
		case nil:
		case map[string]any:
			if err := v.chart(sub, of); err != nil {
				return err
			}
		default:
			v.faults = append(v.faults, fmt.Sprintf("at '/%s': got %T, want object", sub.Name(), of))
		}
	}
	return nil
}

// schema adds the values that a schema rejects to the faults. It fails if the schema
// is none.
func (v *validator) schema(text []byte, values map[string]any) error {
	schema, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return err
	}
	v.detach(schema, identifiers(schema))
	c := jsonschema.NewCompiler()
	c.UseLoader(v)
	if err := c.AddResource(schemaURL, schema); err != nil {
		return err
	}
	compiled, err := c.Compile(schemaURL)
	if err != nil {
		return err
	}
	if err := compiled.Validate(values); err != nil {
		v.faults = append(v.faults, lines(strings.TrimPrefix(err.Error(), "jsonschema validation failed with '"+schemaURL+"#'\n"))...)
	}
	return nil
}

// identifiers returns the names that parts of a schema have, by which other parts may
// refer to them.
func identifiers(schema any) map[string]bool {
	ids := map[string]bool{}
	walk(schema, func(object map[string]any) {
		if id, ok := object["$id"].(string); ok {
			ids[id] = true
			ids[id[strings.LastIndexByte(id, '/')+1:]] = true // relative to a name of the same folder
		}
	})
	return ids
}

// detach removes the references that lead out of the schema.
func (v *validator) detach(schema any, ids map[string]bool) {
	walk(schema, func(object map[string]any) {
		ref, _ := object["$ref"].(string)
		if address, _, _ := strings.Cut(ref, "#"); address != "" && !ids[address] {
			delete(object, "$ref")
			_, _ = v.Load(address)
		}
	})
}

// walk calls visit for all objects in a JSON value.
func walk(value any, visit func(map[string]any)) {
	switch of := value.(type) {
	case map[string]any:
		visit(of)
		for _, v := range of {
			walk(v, visit)
		}
	case []any:
		for _, v := range of {
			walk(v, visit)
		}
	}
}

// Load implements jsonschema.URLLoader for what else a schema names, such as a
// schema of schemas: it accepts every value.
func (v *validator) Load(address string) (any, error) {
	if v.external == nil {
		v.external = map[string]bool{}
	}
	v.external[address] = true
	return true, nil
}

// lines splits the report of a validation into its faults.
func lines(report string) (faults []string) {
	for l := range strings.Lines(report) {
		if l = strings.TrimSpace(l); l != "" {
			faults = append(faults, strings.TrimPrefix(l, "- "))
		}
	}
	return faults
}
