// SPDX-License-Identifier: Apache-2.0

package admission

import (
	"testing"

	"github.com/google/cel-go/cel"
	celtypes "github.com/google/cel-go/common/types"
	admissionregv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/util/version"
	plugincel "k8s.io/apiserver/pkg/admission/plugin/cel"
	"k8s.io/apiserver/pkg/cel/environment"

	"github.com/castai/privatelink-webhook/deploy"
)

// typed is an expression with the types that it may have.
type typed struct {
	name, text string
	types      []*cel.Type
}

func (e typed) GetName() string          { return e.name }
func (e typed) GetExpression() string    { return e.text }
func (e typed) ReturnTypes() []*cel.Type { return e.types }

// TestTheExpressionsAreKnownToTheOldestAPIServer compiles them as an API server
// does for what is new to it: with the libraries of the version before its own.
func TestTheExpressionsAreKnownToTheOldestAPIServer(t *testing.T) {
	for name, c := range configs() {
		t.Run(name, func(t *testing.T) {
			p := startPolicies(t, c, deploy.Options{})
			guard, policy := p.guard.Spec, p.mutator.Spec
			compile(t, version.MajorMinor(1, 31), guard.Variables, guard.MatchConditions,
				typed{"validation", guard.Validations[0].Expression, []*cel.Type{cel.BoolType}}, typed{"message", guard.Validations[0].MessageExpression, []*cel.Type{cel.StringType}})
			compile(t, version.MajorMinor(1, 35), policy.Variables, policy.MatchConditions,
				typed{"mutation", policy.Mutations[0].JSONPatch.Expression, []*cel.Type{cel.ListType(celtypes.NewObjectType("JSONPatch"))}})
		})
	}
}

func compile(t *testing.T, v *version.Version, variables []admissionregv1.Variable, conditions []admissionregv1.MatchCondition, rest ...typed) {
	t.Helper()
	c, err := plugincel.NewCompositedCompiler(environment.MustBaseEnvSet(v))
	if err != nil {
		t.Fatal(err)
	}
	for _, variable := range variables {
		if r := c.CompileAndStoreVariable(typed{variable.Name, variable.Expression, []*cel.Type{cel.AnyType, cel.DynType}}, plugincel.OptionalVariableDeclarations{}, environment.NewExpressions); r.Error != nil {
			t.Errorf("%s: variable %s: %v", v, variable.Name, r.Error)
		}
	}
	for _, condition := range conditions {
		rest = append(rest, typed{condition.Name, condition.Expression, []*cel.Type{cel.BoolType}})
	}
	for _, e := range rest {
		if r := c.CompileCELExpression(e, plugincel.OptionalVariableDeclarations{HasPatchTypes: true}, environment.NewExpressions); r.Error != nil {
			t.Errorf("%s: %s: %v", v, e.name, r.Error)
		}
	}
}
