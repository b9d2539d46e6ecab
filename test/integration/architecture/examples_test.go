// SPDX-License-Identifier: Apache-2.0

package architecture

import (
	"go/ast"
	"go/doc"
	"go/parser"
	"go/token"
	"path/filepath"
	"testing"
)

// TestWhatIsExportedHasAnExample is about the two packages that are not internal. A type
// has one if a function that returns it or one of its methods has one. A type of fields
// alone is part of the examples of others.
func TestWhatIsExportedHasAnExample(t *testing.T) {
	for _, pkg := range []string{"webhook", "certs"} {
		files, err := filepath.Glob(filepath.Join(root, pkg, "*.go"))
		if err != nil || len(files) == 0 {
			t.Fatalf("%s has no files: %v", pkg, err)
		}
		set := token.NewFileSet()
		var parsed []*ast.File
		for _, name := range files {
			f, err := parser.ParseFile(set, name, nil, parser.ParseComments)
			if err != nil {
				t.Fatal(err)
			}
			parsed = append(parsed, f)
		}
		p, err := doc.NewFromFiles(set, parsed, module+"/"+pkg)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range p.Funcs {
			if len(f.Examples) == 0 {
				t.Errorf("%s.%s has no example", pkg, f.Name)
			}
		}
		for _, typ := range p.Types {
			if isInterface(typ) || len(typ.Funcs)+len(typ.Methods) > 0 {
				if examples(typ) == 0 {
					t.Errorf("%s.%s has no example", pkg, typ.Name)
				}
			}
		}
	}
}

func isInterface(t *doc.Type) bool {
	spec, ok := t.Decl.Specs[0].(*ast.TypeSpec)
	if !ok {
		return false
	}
	_, ok = spec.Type.(*ast.InterfaceType)
	return ok
}

// examples counts those of a type, of the functions that return it and of its methods.
func examples(t *doc.Type) int {
	n := len(t.Examples)
	for _, f := range t.Funcs {
		n += len(f.Examples)
	}
	for _, m := range t.Methods {
		n += len(m.Examples)
	}
	return n
}
