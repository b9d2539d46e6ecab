// SPDX-License-Identifier: Apache-2.0

// Package picture draws the panels of a dashboard with the answers of their queries, for the
// documentation. It places panels as Grafana does, and reads a small part of its units.
package picture

import (
	"fmt"
	"html"
	"math"
	"regexp"
	"strings"
)

// A Panel is a panel of the dashboard. X, Y, W and H are in the units of Grafana's grid,
// which is 24 wide.
type Panel struct {
	Title, Unit string
	IsStat      bool
	X, Y, W, H  int
	Steps       []Step
	Queries     []Query
	Series      []Series
}

// A Query is an expression and the format of its legend.
type Query struct{ Expr, Legend string }

// A Step is the color from a value on; From is nil for the first.
type Step struct {
	From  *float64
	Color string
}

// A Series is one answer of a query. Its points are in the order of time.
type Series struct {
	Legend string
	Points []Point
}

// A Point is a value so many seconds after the first.
type Point struct{ At, Value float64 }

// The size of a unit of the grid, the distance between panels, and the margin around lines.
const (
	unitWidth, unitHeight  = 50, 34
	gap                    = 8
	left, top, right, foot = 74, 40, 16, 88
)

// Draw draws the panels over so many seconds. Everything that depends on Series is in
// groups of the class data.
func Draw(panels []Panel, seconds float64) []byte {
	height := 0
	for _, p := range panels {
		height = max(height, (p.Y+p.H)*unitHeight)
	}
	var out strings.Builder
	fmt.Fprintf(&out, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%[1]d" height="%[2]d" role="img" aria-labelledby="title desc" font-family="-apple-system, 'Segoe UI', Helvetica, Arial, sans-serif" font-size="13" fill="#1f2328">
<title id="title">The panels of the dashboard, with the answers that Prometheus gave in a test</title>
<desc id="desc">The lines and numbers are drawn from the queries of the panels, by a test and not by Grafana.</desc>
<rect width="100%%" height="100%%" fill="#f6f8fa"/>
`, 24*unitWidth+gap, height+gap)
	for _, p := range panels {
		p.draw(&out, seconds)
	}
	out.WriteString("</svg>\n")
	return []byte(out.String())
}

// data is what depends on the answers.
var data = regexp.MustCompile(`(?s)<g class="data">.*?</g>`)

// WithoutData returns a picture without what depends on the answers: titles, queries,
// formats of legends, units, limits and places are left.
func WithoutData(picture []byte) string {
	return string(data.ReplaceAll(picture, []byte(`<g class="data"></g>`)))
}

var legend = regexp.MustCompile(`<text class="legend"[^>]*>([^<]*)</text>`)

// Legends returns the legends of a picture, panel by panel.
func Legends(picture []byte) (all []string) {
	for _, group := range data.FindAll(picture, -1) {
		var of []string
		for _, m := range legend.FindAllSubmatch(group, -1) {
			of = append(of, html.UnescapeString(string(m[1])))
		}
		all = append(all, strings.Join(of, ", "))
	}
	return all
}

func (p Panel) draw(out *strings.Builder, seconds float64) {
	width, height := p.W*unitWidth-gap, p.H*unitHeight-gap
	fmt.Fprintf(out, "<g transform=\"translate(%d %d)\">\n<title>%s</title>\n", p.X*unitWidth+gap, p.Y*unitHeight+gap, html.EscapeString(p.Title))
	var queries []string
	for _, q := range p.Queries {
		queries = append(queries, q.Legend+": "+q.Expr)
	}
	fmt.Fprintf(out, "<desc>Unit %s. %s</desc>\n", html.EscapeString(p.Unit), html.EscapeString(strings.Join(queries, "; ")))
	fmt.Fprintf(out, `<rect width="%d" height="%d" rx="4" fill="#ffffff" stroke="#d0d7de"/><text x="14" y="24" font-weight="600">%s</text>`+"\n", width, height, html.EscapeString(p.Title))
	fmt.Fprintf(out, "<desc>Limits %s</desc>\n<g class=\"data\">", html.EscapeString(p.limits()))
	if p.IsStat {
		p.number(out, width, height)
	} else {
		p.lines(out, float64(width), float64(height), seconds)
	}
	out.WriteString("</g>\n</g>\n")
}

// limits names the colors and from which value on they are.
func (p Panel) limits() string {
	var all []string
	for _, s := range p.Steps {
		from := "any value"
		if s.From != nil {
			from = format(*s.From, p.Unit)
		}
		all = append(all, s.Color+" from "+from)
	}
	return strings.Join(all, ", ")
}

// color is that of a value.
func (p Panel) color(value float64) string {
	name := ""
	for _, s := range p.Steps {
		if s.From == nil || value >= *s.From {
			name = s.Color
		}
	}
	return shade(name)
}

// shade is a color that is readable on white.
func shade(name string) string {
	switch name {
	case "red":
		return "#cf222e"
	case "yellow":
		return "#9a6700"
	}
	return "#1a7f37"
}

// number draws the newest value of the first series.
func (p Panel) number(out *strings.Builder, width, height int) {
	if len(p.Series) == 0 || len(p.Series[0].Points) == 0 {
		return
	}
	s := p.Series[0]
	value := s.Points[len(s.Points)-1].Value
	fmt.Fprintf(out, `<text class="legend" x="14" y="44" font-size="12" fill="#57606a">%s</text>`, html.EscapeString(s.Legend))
	fmt.Fprintf(out, `<text x="%d" y="%d" font-size="40" font-weight="600" text-anchor="middle" fill="%s">%s</text>`, width/2, height-24, p.color(value), html.EscapeString(format(value, p.Unit)))
}

// lineColors are readable on white.
var lineColors = []string{"#0969da", "#bc4c00", "#1a7f37", "#8250df", "#bf3989", "#57606a", "#9a6700", "#0a3069", "#cf222e"}

// lines draws the series over time, with an axis, the limits and a legend.
func (p Panel) lines(out *strings.Builder, width, height, seconds float64) {
	highest := 0.0
	for _, s := range p.Series {
		for _, point := range s.Points {
			highest = max(highest, point.Value)
		}
	}
	step := tick(highest)
	if p.Unit == "bytes" {
		step = tick(highest/(1<<20)) * (1 << 20)
	}
	ceiling := max(step, math.Ceil(highest/step)*step)
	x := func(at float64) float64 { return left + at/seconds*(width-left-right) }
	y := func(value float64) float64 { return height - foot - value/ceiling*(height-top-foot) }
	across := func(value float64, stroke string) {
		fmt.Fprintf(out, "\n"+`<path d="M%d %.1fH%.0f" stroke=%s/>`, left, y(value), width-right, stroke)
	}
	for i := range int(math.Round(ceiling/step)) + 1 {
		value := float64(i) * step
		across(value, `"#d0d7de"`)
		fmt.Fprintf(out, `<text x="%d" y="%.1f" text-anchor="end" font-size="12" fill="#57606a">%s</text>`, left-8, y(value)+4, format(value, p.Unit))
	}
	for at := 0.0; at <= seconds; at += 15 {
		fmt.Fprintf(out, "\n"+`<text x="%.1f" y="%.0f" text-anchor="middle" font-size="12" fill="#57606a">%.0f s</text>`, x(at), height-foot+18, at)
	}
	for _, s := range p.Steps {
		if s.From != nil && *s.From > 0 && *s.From <= ceiling {
			across(*s.From, fmt.Sprintf(`"%s" stroke-dasharray="6 4"`, shade(s.Color)))
		}
	}
	legendX, legendY := float64(left), height-46
	for i, s := range p.Series {
		color := lineColors[i%len(lineColors)]
		fmt.Fprintf(out, "\n"+`<path class="line" d="%s" fill="none" stroke="%s" stroke-width="2" stroke-linejoin="round" stroke-linecap="round"/>`, path(s.Points, x, y), color)
		long := 20 + characterWidth*float64(len(s.Legend))
		if legendX > left && legendX+long > width-right {
			legendX, legendY = left, legendY+17
		}
		fmt.Fprintf(out, `<rect x="%.0f" y="%.0f" width="14" height="4" fill="%s"/><text class="legend" x="%.0f" y="%.0f" font-size="12">%s</text>`, legendX, legendY-6, color, legendX+20, legendY, html.EscapeString(s.Legend))
		legendX += long + 14
	}
	out.WriteString("\n")
}

// characterWidth is more than that of an average character of a legend.
const characterWidth = 7

// pause is the distance of points, in seconds, from which on a line is interrupted.
const pause = 1.5

// path is the line through the points, with a gap where some are missing.
func path(points []Point, x, y func(float64) float64) string {
	var d strings.Builder
	for i, p := range points {
		command := "L"
		if i == 0 || p.At-points[i-1].At > pause {
			command = "M"
		}
		fmt.Fprintf(&d, "%s%.1f %.1f", command, x(p.At), y(p.Value))
	}
	if len(points) == 1 {
		d.WriteString("h0") // a dot
	}
	return d.String()
}

// tick is a round distance of the lines of an axis, of which there are two to five.
func tick(highest float64) float64 {
	if highest <= 0 {
		return 1
	}
	power := math.Pow(10, math.Floor(math.Log10(highest)))
	for _, factor := range []float64{0.2, 0.5, 1} {
		if highest/(factor*power) <= 5 {
			return factor * power
		}
	}
	return 2 * power
}
