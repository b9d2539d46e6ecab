// SPDX-License-Identifier: Apache-2.0

package chart

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	yamlv3 "go.yaml.in/yaml/v3"
)

// An emitter writes merged values as templates, in the order and with the comments of
// the tree's files.
type emitter struct{ lines []string }

func (e *emitter) line(indent int, format string, args ...any) {
	e.lines = append(e.lines, strings.Repeat(" ", indent)+fmt.Sprintf(format, args...))
}

// An entry is a value that is written in a sequence of others.
type entry struct {
	value any
	write func(any)
}

// sequence writes values one after the other, with conditions around those that have
// the same. What is absent is left out.
func (e *emitter) sequence(indent int, entries []entry) {
	entries = slices.DeleteFunc(entries, func(x entry) bool { return x.value == any(absent{}) })
	for len(entries) > 0 {
		run := sameCondition(entries)
		if len(run) == 0 {
			entries[0].write(entries[0].value)
			entries = entries[1:]
			continue
		}
		e.branches(indent, "if", run)
		e.line(indent, "{{- end }}")
		entries = entries[len(run):]
	}
}

// sameCondition returns the entries at the beginning that have the same condition.
func sameCondition(entries []entry) (run []entry) {
	for _, x := range entries {
		c, ok := x.value.(choice)
		if !ok || len(run) > 0 && c.condition != run[0].value.(choice).condition {
			break
		}
		run = append(run, x)
	}
	return run
}

func (e *emitter) branches(indent int, word string, run []entry) {
	conditions, then, otherwise := branchesOf(run)
	for len(otherwise) == 0 && len(sameCondition(then)) == len(then) { // nested conditions without another branch are one
		more, inner, others := branchesOf(then)
		if len(others) > 0 {
			break
		}
		conditions, then = append(conditions, more...), inner
	}
	e.line(indent, "{{- %s %s }}", word, conjunction(conditions))
	e.sequence(indent, then)
	switch {
	case len(otherwise) == 0:
	case len(sameCondition(otherwise)) == len(otherwise):
		e.branches(indent, "else if", otherwise)
	default:
		e.line(indent, "{{- else }}")
		e.sequence(indent, otherwise)
	}
}

// branchesOf returns the condition of a run, and the entries of its two branches.
func branchesOf(run []entry) (conditions []string, then, otherwise []entry) {
	for _, x := range run {
		c := x.value.(choice)
		conditions = []string{c.condition}
		then = append(then, entry{c.then, x.write})
		if c.otherwise != any(absent{}) {
			otherwise = append(otherwise, entry{c.otherwise, x.write})
		}
	}
	return conditions, then, otherwise
}

func conjunction(conditions []string) string {
	if len(conditions) == 1 {
		return conditions[0]
	}
	var text strings.Builder
	text.WriteString("and")
	for _, c := range conditions {
		if strings.Contains(c, " ") {
			c = "(" + c + ")"
		}
		text.WriteString(" " + c)
	}
	return text.String()
}

// object writes the members of an object.
func (e *emitter) object(indent int, object map[string]any, like *yamlv3.Node) {
	var entries []entry
	for _, key := range ordered(object, like) {
		from, value := member(like, key)
		comments := sync.OnceFunc(func() { e.comments(indent, from) })
		entries = append(entries, entry{object[key], func(v any) {
			comments()
			e.member(indent, key, v, from, value)
		}})
	}
	e.sequence(indent, entries)
}

// ordered returns the keys in the order of the file. Others follow the names.
func ordered(object map[string]any, like *yamlv3.Node) (keys []string) {
	if like != nil && like.Kind == yamlv3.MappingNode {
		for i := 0; i < len(like.Content); i += 2 {
			if _, ok := object[like.Content[i].Value]; ok {
				keys = append(keys, like.Content[i].Value)
			}
		}
	}
	rest := slices.DeleteFunc(slices.Sorted(maps.Keys(object)), func(key string) bool { return slices.Contains(keys, key) })
	slices.SortStableFunc(rest, func(a, b string) int {
		rank := func(key string) int { return slices.Index([]string{"name", ""}, key) }
		return rank(b) - rank(a)
	})
	return append(keys, rest...)
}

// member returns the nodes of a key and its value, nil if the file lacks them.
func member(like *yamlv3.Node, key string) (k, v *yamlv3.Node) {
	if like != nil && like.Kind == yamlv3.MappingNode {
		for i := 0; i < len(like.Content); i += 2 {
			if like.Content[i].Value == key {
				return like.Content[i], like.Content[i+1]
			}
		}
	}
	return nil, nil
}

// comments writes the comment above a node, without paragraphs about the tree.
func (e *emitter) comments(indent int, n *yamlv3.Node) {
	if n == nil || n.HeadComment == "" {
		return
	}
	var kept []string
	for paragraph := range strings.SplitSeq(n.HeadComment, "\n#\n") {
		if !strings.Contains(paragraph, "go test") && !strings.Contains(paragraph, "kustomize") && !strings.Contains(paragraph, "privatelink install") && !strings.Contains(paragraph, "overlays") {
			kept = append(kept, paragraph)
		}
	}
	for line := range strings.Lines(escape(strings.Join(kept, "\n#\n"))) {
		e.line(indent, "%s", strings.TrimSpace(line))
	}
}

// member writes a key and its value.
func (e *emitter) member(indent int, key string, value any, from, like *yamlv3.Node) {
	remark := ""
	for _, n := range []*yamlv3.Node{from, like} {
		if n != nil && n.LineComment != "" {
			remark = " " + escape(n.LineComment)
		}
	}
	switch of := value.(type) {
	case action:
		e.action(indent, key, of, remark)
	case map[string]any:
		if len(of) == 0 {
			e.line(indent, "%s: {}%s", scalar(key), remark)
			return
		}
		e.line(indent, "%s:%s", scalar(key), remark)
		e.object(indent+2, of, like)
	case []any:
		if flow, ok := flow(of, like); ok {
			e.line(indent, "%s: %s%s", scalar(key), flow, remark)
			return
		}
		e.line(indent, "%s:%s", scalar(key), remark)
		e.list(indent, of, like)
	case string:
		if strings.Contains(of, "\n") || like != nil && like.Style == yamlv3.LiteralStyle {
			e.literal(indent, key, escape(of))
			return
		}
		e.line(indent, "%s: %s%s", scalar(key), scalar(of), remark)
	default:
		e.line(indent, "%s: %s%s", scalar(key), scalar(of), remark)
	}
}

func (e *emitter) action(indent int, key string, a action, remark string) {
	switch {
	case a.inline != "":
		e.line(indent, "%s: %s%s", scalar(key), a.inline, remark)
	case a.block != "":
		e.literal(indent, key, a.block)
	case a.nested != "":
		style, call, ok := strings.Cut(a.nested, "\n")
		if !ok {
			style, call = "", a.nested
		}
		e.line(indent, "%s", strings.TrimSuffix(scalar(key)+": "+style, " "))
		e.line(indent+2, "{{- %s | nindent %d }}", call, indent+2)
	case a.with != "":
		e.line(indent, "{{- with %s }}", a.with)
		if key == "priorityClassName" {
			e.line(indent, "%s: {{ . | quote }}", scalar(key))
		} else {
			e.line(indent, "%s:", scalar(key))
			e.line(indent+2, "{{- toYaml . | nindent %d }}", indent+2)
		}
		e.line(indent, "{{- end }}")
	case a.merged != "":
		e.line(indent, "{{- with %s }}", a.merged)
		e.line(indent, "{{- toYaml . | nindent %d }}", indent)
		e.line(indent, "{{- end }}")
	}
}

// literal writes a text as a block, which quotes nothing.
func (e *emitter) literal(indent int, key, text string) {
	style := "|-"
	if before, ok := strings.CutSuffix(text, "\n"); ok {
		style, text = "|", before
	}
	if strings.HasPrefix(text, " ") || strings.HasSuffix(text, "\n") {
		panic(fmt.Sprintf("%s: the text does not suit a literal block: %q", key, text))
	}
	e.line(indent, "%s: %s", scalar(key), style)
	for line := range strings.SplitSeq(text, "\n") {
		e.line(indent+2, "%s", line)
	}
}

// list writes the items of a list.
func (e *emitter) list(indent int, list []any, like *yamlv3.Node) {
	var entries []entry
	for i, item := range list {
		from := itemLike(like, i, item)
		entries = append(entries, entry{item, func(v any) {
			e.comments(indent, from)
			object, ok := v.(map[string]any)
			if !ok {
				e.line(indent, "- %s", scalar(v))
				return
			}
			inner := emitter{}
			inner.object(indent+2, object, from)
			for strings.HasPrefix(strings.TrimSpace(inner.lines[0]), "#") {
				e.line(indent, "%s", strings.TrimSpace(inner.lines[0]))
				inner.lines = inner.lines[1:]
			}
			first := strings.TrimSpace(inner.lines[0])
			if strings.HasPrefix(first, "{{-") {
				panic("the first member of an item is conditional: " + first)
			}
			e.line(indent, "- %s", first)
			e.lines = append(e.lines, inner.lines[1:]...)
		}})
	}
	e.sequence(indent, entries)
}

// itemLike returns the item of the file with the same name or position, or the first.
func itemLike(like *yamlv3.Node, i int, item any) *yamlv3.Node {
	if like == nil || like.Kind != yamlv3.SequenceNode || len(like.Content) == 0 {
		return nil
	}
	for c, ok := item.(choice); ok; c, ok = item.(choice) {
		item = c.then
	}
	if name := nameOf(item); name != "" {
		for _, n := range like.Content {
			if _, v := member(n, "name"); v != nil && v.Value == name {
				return n
			}
		}
		first := *like.Content[0]
		first.HeadComment = ""
		return &first
	}
	if i < len(like.Content) {
		return like.Content[i]
	}
	return nil
}

// flow returns a list of constants that the file has on one line, or an empty one.
func flow(list []any, like *yamlv3.Node) (string, bool) {
	if len(list) > 0 && (like == nil || like.Style&yamlv3.FlowStyle == 0) {
		return "", false
	}
	texts := make([]string, len(list))
	for i, item := range list {
		switch item.(type) {
		case string, float64, bool:
			texts[i] = scalar(item)
		default:
			return "", false
		}
	}
	return "[" + strings.Join(texts, ", ") + "]", true
}

// scalar returns a constant on one line.
func scalar(value any) string {
	if a, ok := value.(action); ok && a.inline != "" {
		return a.inline
	}
	text, ok := value.(string)
	if !ok {
		encoded, err := json.Marshal(value)
		if err != nil {
			panic(err)
		}
		return string(encoded)
	}
	encoded, err := yamlv3.Marshal(text)
	if err != nil {
		panic(err)
	}
	return escape(strings.TrimSpace(string(encoded)))
}
