// SPDX-License-Identifier: Apache-2.0

package chart

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What a schema refers to is another party's choice of what this machine fetches and
// reads: https://github.com/helm/helm/issues/10481.
func TestASchemaReachesNothingOutsideItself(t *testing.T) {
	requests := 0
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { requests++ }))
	t.Cleanup(server.Close)
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("TOP-SECRET"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, address := range map[string]string{
		"a URL":                     server.URL + "/schema.json",
		"a URL with a fragment":     server.URL + "/schema.json#/definitions/x",
		"a file":                    "file://" + secret,
		"a file next to the schema": "other.json",
		"a URN":                     "urn:acme:schema",
	} {
		t.Run(name, func(t *testing.T) {
			top := folder(t, map[string]string{
				"Chart.yaml":         metadata("top", "1.0.0"),
				"values.schema.json": `{"type": "object", "properties": {"a": {"$ref": "` + address + `"}, "b": {"type": "integer"}}}`,
				"templates/pod.yaml": pod("quay.io/acme/x:1"),
			})
			got, err := Render(t.Context(), Options{Chart: top, Set: []string{"a=x,b=1"}})
			if requests > 0 {
				t.Error("the URL was fetched")
			}
			if err != nil {
				t.Fatal(err)
			}
			if len(got.Warnings) != 1 || !strings.Contains(got.Warnings[0], "which is not fetched") || len(images(got)) != 1 {
				t.Errorf("warnings %q, images %q", got.Warnings, images(got))
			}
			_, err = Render(t.Context(), Options{Chart: top, Set: []string{"a=x,b=text"}})
			wantError(t, err, "values.schema.json refuses the values: at '/b': got string, want integer")
		})
	}
}

func TestSchemasOfSubcharts(t *testing.T) {
	files := func(schema string) string {
		return folder(t, map[string]string{
			"Chart.yaml":                     metadata("top", "1.0.0"),
			"charts/part/Chart.yaml":         metadata("part", "1.0.0"),
			"charts/part/values.schema.json": schema,
			"charts/part/templates/pod.yaml": pod("quay.io/acme/x:1"),
		})
	}
	for name, tc := range map[string]struct{ schema, set, want string }{
		"a value":                  {`{"properties": {"n": {"type": "integer"}}}`, "part.n=x", "at '/n': got string, want integer"},
		"values that are no map":   {`{}`, "part=x", "part"},
		"by a name within it":      {`{"$id": "https://acme.example/s/a.json", "properties": {"n": {"$ref": "b.json"}}, "$defs": {"b": {"$id": "b.json", "type": "integer"}}}`, "part.n=x", "at '/n': got string, want integer"},
		"a schema that is none":    {`{`, "a=b", "top/charts/part/values.schema.json: "},
		"a schema of another type": {`{"type": 1}`, "a=b", "top/charts/part/values.schema.json: "},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Render(t.Context(), Options{Chart: files(tc.schema), Set: []string{tc.set}})
			wantError(t, err, tc.want)
		})
	}
}

// FuzzSchema: whatever a schema is, validation ends with faults or an error.
func FuzzSchema(f *testing.F) {
	for _, s := range []string{`{"$ref": "#"}`, `{"$ref": "http://h/x#/a", "$id": "x"}`, `{"$schema": "file:///x"}`, `{"$dynamicRef": "http://h/x"}`, `{"pattern": "("}`, `[]`, `true`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, schema string) {
		var v validator
		if err := v.schema([]byte(schema), map[string]any{"a": map[string]any{"b": "c"}}); err != nil && len(v.faults) > 0 {
			t.Errorf("faults %q and error %v", v.faults, err)
		}
	})
}
