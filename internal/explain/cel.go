// SPDX-License-Identifier: Apache-2.0

package explain

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/traits"
	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/admission"
	plugincel "k8s.io/apiserver/pkg/admission/plugin/cel"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/cel/environment"
	"k8s.io/apiserver/pkg/cel/mutation"

	"github.com/castai/privatelink-webhook/internal/jsonpatch"
)

// expression is CEL text with the type that it must have; nil for any.
type expression struct {
	name, text string
	is         *cel.Type
}

func (e expression) GetName() string       { return e.name }
func (e expression) GetExpression() string { return e.text }
func (e expression) ReturnTypes() []*cel.Type {
	if e.is == nil {
		return []*cel.Type{cel.AnyType, cel.DynType}
	}
	return []*cel.Type{e.is}
}

// compiler compiles as the API server does when it loads a stored policy or
// webhook configuration.
type compiler struct{ *plugincel.CompositedCompiler }

func newCompiler(variables []expression) (compiler, error) {
	c, err := plugincel.NewCompositedCompiler(environment.MustBaseEnvSet(environment.DefaultCompatibilityVersion()))
	if err != nil {
		return compiler{}, err
	}
	for _, v := range variables {
		if result := c.CompileAndStoreVariable(v, plugincel.OptionalVariableDeclarations{}, environment.StoredExpressions); result.Error != nil {
			return compiler{}, fmt.Errorf("variable %s: %w", v.name, result.Error)
		}
	}
	return compiler{c}, nil
}

// condition is one compiled expression. Each is evaluated by itself, so that its
// cost is known; the API server allows for all match conditions of one webhook
// or policy together what is allowed here for each.
type condition struct {
	name   string
	of     plugincel.ConditionEvaluator
	budget int64
}

func (c compiler) condition(e expression, budget int64) (condition, error) {
	of := c.CompileCondition([]plugincel.ExpressionAccessor{e}, plugincel.OptionalVariableDeclarations{}, environment.StoredExpressions)
	if err := errors.Join(of.CompilationErrors()...); err != nil {
		return condition{}, fmt.Errorf("%s: %w", e.name, err)
	}
	return condition{e.name, of, budget}, nil
}

// value evaluates the expression: a bool or a string.
func (c condition) value(ctx context.Context, in input) (value any, cost int64, err error) {
	results, left, err := c.of.ForInput(ctx, in.attributes, in.request, plugincel.OptionalVariableBindings{}, in.namespace, c.budget)
	if err != nil {
		return nil, c.budget, err
	}
	if err := results[0].Error; err != nil {
		return nil, c.budget - left, err
	}
	return results[0].EvalResult.Value(), c.budget - left, nil
}

func (c condition) evaluate(ctx context.Context, in input) Condition {
	value, cost, err := c.value(ctx, in)
	out := Condition{Name: c.name, Cost: cost}
	out.Value, _ = value.(bool)
	if err != nil {
		out.Error = err.Error()
	}
	return out
}

// mutator is the compiled expression of a JSON patch.
type mutator struct {
	compiler
	of plugincel.MutatingEvaluator
}

func (c compiler) mutator(text string) (mutator, error) {
	e := expression{text: text, is: cel.ListType(types.NewObjectType("JSONPatch"))}
	of := c.CompileMutatingEvaluator(e, plugincel.OptionalVariableDeclarations{HasPatchTypes: true}, environment.StoredExpressions)
	return mutator{c, of}, errors.Join(of.CompilationErrors()...)
}

// patch evaluates the expression to the text of a JSON patch.
func (m mutator) patch(ctx context.Context, in input) (patch json.RawMessage, cost int64, err error) {
	const budget = celconfig.RuntimeCELCostBudget
	result, left, err := m.of.ForInput(m.CreateContext(ctx), in.attributes, in.request, plugincel.OptionalVariableBindings{}, in.namespace, budget)
	if err != nil {
		return nil, budget, err
	}
	if result.Error != nil {
		return nil, budget - left, result.Error
	}
	ops := []jsonpatch.Operation{}
	for it := result.EvalResult.(traits.Lister).Iterator(); it.HasNext() == types.True; {
		native, err := it.Next().ConvertToNative(reflect.TypeFor[*mutation.JSONPatchVal]())
		if err != nil {
			return nil, budget - left, err
		}
		op := native.(*mutation.JSONPatchVal)
		ops = append(ops, jsonpatch.Operation{Op: op.Op, Path: op.Path, Value: op.Val.Value()})
	}
	patch, err = json.Marshal(ops)
	return patch, budget - left, err
}

// input is the request that creates a pod.
type input struct {
	attributes *admission.VersionedAttributes
	request    *admissionv1.AdmissionRequest
	namespace  *corev1.Namespace
}

func newInput(pod *corev1.Pod) (input, error) {
	scheme, err := newScheme()
	if err != nil {
		return input{}, err
	}
	gvk, gvr := corev1.SchemeGroupVersion.WithKind("Pod"), corev1.SchemeGroupVersion.WithResource("pods")
	a := admission.NewAttributesRecord(pod.DeepCopy(), nil, gvk, pod.Namespace, pod.Name, gvr, "", admission.Create, &metav1.CreateOptions{}, false, &user.DefaultInfo{})
	versioned, err := admission.NewVersionedAttributes(a, gvk, admission.NewObjectInterfacesFromScheme(scheme))
	if err != nil {
		return input{}, err
	}
	return input{
		attributes: versioned,
		request:    plugincel.CreateAdmissionRequest(a, metav1.GroupVersionResource(gvr), metav1.GroupVersionKind(gvk)),
		namespace:  &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: pod.Namespace, Labels: map[string]string{corev1.LabelMetadataName: pod.Namespace}}},
	}, nil
}
