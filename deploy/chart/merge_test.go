// SPDX-License-Identifier: Apache-2.0

package chart

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
)

// A cell is the value that a variant has at one place of an object.
type cell struct {
	of    variant
	value any
}

// absent is the value of a variant that has none.
type absent struct{}

// A choice is a value that depends on a condition. then or otherwise may be absent.
type choice struct {
	condition       string
	then, otherwise any
}

// merged returns a value that is right for all of the cells: with a choice where they
// differ. Objects are merged by their members; lists by the names of their items, or
// by position if they have the same length and no names.
func merged(cells []cell) any {
	values := distinct(cells)
	if len(values) == 1 {
		return values[0]
	}
	switch {
	case all(values, isObject):
		return mergedObjects(cells, values)
	case all(values, isNamedList):
		return mergedLists(cells, values)
	case all(values, isList) && sameLength(values):
		list := make([]any, len(values[0].([]any)))
		for i := range list {
			list[i] = merged(each(cells, func(v any) any { return v.([]any)[i] }))
		}
		return list
	}
	return choose(cells)
}

func distinct(cells []cell) (values []any) {
	for _, c := range cells {
		if !slices.ContainsFunc(values, func(v any) bool { return reflect.DeepEqual(v, c.value) }) {
			values = append(values, c.value)
		}
	}
	return values
}

func all(values []any, is func(any) bool) bool {
	return !slices.ContainsFunc(values, func(v any) bool { return !is(v) })
}

func isObject(v any) bool { _, ok := v.(map[string]any); return ok }
func isList(v any) bool   { _, ok := v.([]any); return ok }

func isNamedList(v any) bool {
	list, ok := v.([]any)
	return ok && all(list, func(item any) bool { return nameOf(item) != "" })
}

func nameOf(item any) string {
	object, _ := item.(map[string]any)
	name, _ := object["name"].(string)
	return name
}

func sameLength(lists []any) bool {
	return all(lists, func(v any) bool { return len(v.([]any)) == len(lists[0].([]any)) })
}

func each(cells []cell, get func(any) any) []cell {
	out := make([]cell, len(cells))
	for i, c := range cells {
		out[i] = cell{c.of, get(c.value)}
	}
	return out
}

func mergedObjects(cells []cell, values []any) map[string]any {
	object := map[string]any{}
	for _, v := range values {
		for key := range v.(map[string]any) {
			object[key] = nil
		}
	}
	for _, key := range slices.Sorted(maps.Keys(object)) {
		object[key] = merged(each(cells, func(v any) any {
			if member, ok := v.(map[string]any)[key]; ok {
				return member
			}
			return absent{}
		}))
	}
	return object
}

// mergedLists takes the order of the longest list, which has all items.
func mergedLists(cells []cell, values []any) []any {
	longest := slices.MaxFunc(values, func(a, b any) int { return len(a.([]any)) - len(b.([]any)) }).([]any)
	for _, v := range values {
		next := 0
		for _, item := range v.([]any) {
			for next < len(longest) && nameOf(longest[next]) != nameOf(item) {
				next++
			}
			if next == len(longest) {
				panic(fmt.Sprintf("%s is not in the longest list, or in another order", nameOf(item)))
			}
		}
	}
	var list []any
	for _, like := range longest {
		list = append(list, merged(each(cells, func(v any) any {
			for _, item := range v.([]any) {
				if nameOf(item) == nameOf(like) {
					return item
				}
			}
			return absent{}
		})))
	}
	return list
}

// choose splits the cells by the dimension that explains best why they differ.
func choose(cells []cell) any {
	isAbsent := slices.ContainsFunc(cells, func(c cell) bool { return c.value == any(absent{}) })
	explains := func(part []cell) bool {
		if isAbsent {
			part = each(part, func(v any) any { return v == any(absent{}) })
		}
		return len(distinct(part)) == 1
	}
	var best []part
	var by dimension
	for _, d := range dimensions() {
		parts := split(cells, d)
		if len(parts) < 2 || d.isIrrelevant(cells) {
			continue
		}
		if !slices.ContainsFunc(parts, func(p part) bool { return !explains(p.cells) }) {
			best, by = parts, d
			if isAbsent {
				best = byPresence(parts)
			}
			break
		}
		if best == nil {
			best, by = parts, d
		}
	}
	if best == nil {
		panic(fmt.Sprintf("no dimension explains the difference of %v", distinct(cells)))
	}
	return by.choice(best)
}

// A part is what the cells with one choice of a dimension have.
type part struct {
	choices []string
	cells   []cell
}

func split(cells []cell, d dimension) (parts []part) {
	for _, c := range d.conditions {
		of := slices.DeleteFunc(slices.Clone(cells), func(x cell) bool { return x.of[d.name] != c.choice })
		if len(of) > 0 {
			parts = append(parts, part{[]string{c.choice}, of})
		}
	}
	return parts
}

// byPresence joins the parts that have a value, and those that have none.
func byPresence(parts []part) []part {
	var has, lacks part
	for _, p := range parts {
		of := &has
		if p.cells[0].value == any(absent{}) {
			of = &lacks
		}
		of.choices, of.cells = append(of.choices, p.choices...), append(of.cells, p.cells...)
	}
	return []part{has, lacks}
}

// isIrrelevant reports whether the values are the same for all choices of the
// dimension, all else being equal.
func (d dimension) isIrrelevant(cells []cell) bool {
	for _, a := range cells {
		for _, b := range cells {
			if differOnlyIn(a.of, b.of, d.name) && !reflect.DeepEqual(a.value, b.value) {
				return false
			}
		}
	}
	return true
}

func differOnlyIn(a, b variant, name string) bool {
	for key := range a {
		if key != name && a[key] != b[key] {
			return false
		}
	}
	return a[name] != b[name]
}

// choice merges each part, and joins those with equal results.
func (d dimension) choice(parts []part) any {
	type result struct {
		choices []string
		value   any
	}
	var results []result
	for _, p := range parts {
		value := merged(p.cells)
		i := slices.IndexFunc(results, func(r result) bool { return reflect.DeepEqual(r.value, value) })
		if i < 0 {
			results = append(results, result{value: value})
			i = len(results) - 1
		}
		results[i].choices = append(results[i].choices, p.choices...)
	}
	if len(results) == 1 {
		return results[0].value
	}
	if results[0].value == any(absent{}) && len(results) == 2 {
		slices.Reverse(results)
	}
	last := results[len(results)-1].value
	for _, r := range slices.Backward(results[:len(results)-1]) {
		last = choice{d.condition(r.choices), r.value, last}
	}
	return last
}
