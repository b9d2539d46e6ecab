// SPDX-License-Identifier: Apache-2.0

package chart

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"text/template"

	v2 "helm.sh/helm/v4/pkg/chart/v2"
)

// demands are Helm's functions required and fail. Helm's own wrap their message
// so that its engine can cut it out of the error, and with it the way through
// the helpers to the line that demands.
func demands(placeholders bool) template.FuncMap {
	return template.FuncMap{
		"required": func(message string, value any) (any, error) {
			if placeholders && (value == nil || value == "") {
				return Placeholder, nil
			}
			if value == nil || value == "" {
				return nil, demand(message)
			}
			return value, nil
		},
		"fail": func(message string) (string, error) { return "", demand(message) },
	}
}

// A demand is a requirement of the chart for its values.
type demand string

func (d demand) Error() string { return string(d) }

// step is one step of the way from a template through helpers to the fault, in
// the one line of text/template or in the several of Helm:
//
//	a/templates/x.yaml:3:12: executing "helper" at <.Values.a.b>: nil pointer…
var step = regexp.MustCompile(`(\S+?):(\d+):(\d+)(?:: |\n\s*)executing "[^"]*" at <([^\n]*?)>:\s+`)

// valuePath is a value as templates name it.
var valuePath = regexp.MustCompile(`\.Values((?:\.\w+)+)`)

// explain reports in which line an error of the engine arose, for which value
// if that can be seen, and how to give it.
func explain(err error, c *v2.Chart) error {
	whole := err.Error()
	steps := step.FindAllStringSubmatchIndex(whole, -1)
	if len(steps) == 0 {
		return err // of a template that does not even parse
	}
	part := func(s []int, group int) string { return whole[s[2*group]:s[2*group+1]] }
	first, last := steps[0], steps[len(steps)-1]
	file, number, expression := part(last, 1), part(last, 2), part(last, 4)

	message := strings.TrimSpace(whole[last[1]:])
	for _, f := range []string{"required", "fail"} {
		message = strings.TrimPrefix(message, "error calling "+f+": ")
	}
	value := named(expression)
	// In {{ .Values.a | required "…" }} the value stands before the expression. A
	// text within tpl has line numbers of its own.
	if value == "" && !strings.HasPrefix(expression, ".") && !strings.Contains(whole, "error calling tpl") {
		value = named(before(c, file, number, part(last, 3)))
	}
	return fmt.Errorf("%s:%s: %s: %s", file, number, message, remedy(value, expression, scope(part(first, 1))))
}

// named is the last value that a text names, or "".
func named(text string) string {
	found := valuePath.FindAllStringSubmatch(text, -1)
	if len(found) == 0 {
		return ""
	}
	return strings.TrimPrefix(found[len(found)-1][1], ".")
}

// remedy returns how to set a value.
func remedy(value, expression, scope string) string {
	switch {
	case value == "" && !strings.HasPrefix(expression, "."): // a function, whose message names the value
		return "change the values with --chart-set KEY=… or --values FILE"
	case value == "": // within a with or a range
		return fmt.Sprintf("see <%s> there, and give the value with --chart-set KEY=… or --values FILE", expression)
	}
	if !strings.HasPrefix(value, "global.") {
		value = scope + value
	}
	return fmt.Sprintf("give the value %s with --chart-set %s=… or --values FILE", value, value)
}

// scope is what stands before the values of a subchart's template in the values
// of the chart: "sub." for agent/charts/sub/templates/x.yaml. It follows from the
// template and not from the helper, which may be of a library.
func scope(template string) string {
	parts := strings.Split(template, "/")
	var names strings.Builder
	for i := 1; i+1 < len(parts) && parts[i] == "charts"; i += 2 {
		names.WriteString(parts[i+1] + ".")
	}
	return names.String()
}

// before is what stands in a line of a template before a column, or "".
func before(c *v2.Chart, file, line, column string) string {
	n, _ := strconv.Atoi(line)
	col, _ := strconv.Atoi(column)
	for _, f := range c.Templates {
		if c.ChartFullPath()+"/"+f.Name != file {
			continue
		}
		if lines := strings.Split(string(f.Data), "\n"); n > 0 && n <= len(lines) {
			return lines[n-1][:min(col, len(lines[n-1]))]
		}
	}
	for _, d := range c.Dependencies() {
		if text := before(d, file, line, column); text != "" {
			return text
		}
	}
	return ""
}
