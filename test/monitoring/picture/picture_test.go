// SPDX-License-Identifier: Apache-2.0

package picture

import (
	"encoding/xml"
	"io"
	"math"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func panels() []Panel {
	return []Panel{
		{Title: "Pods", Unit: "short", IsStat: true, W: 6, H: 4, Steps: []Step{{nil, "red"}, {new(2.0), "green"}},
			Queries: []Query{{"count(x)", "pods"}}, Series: []Series{{"pods", []Point{{0, 1}, {1, 2}}}}},
		{Title: "Duration <b>", Unit: "s", Y: 4, W: 12, H: 8, Steps: []Step{{nil, "green"}, {new(0.5), "yellow"}},
			Queries: []Query{{`rate(x{a="b"}[1m])`, "{{a}}"}}, Series: []Series{{`<script>`, []Point{{0, 0.7}, {1, 0.2}, {5, 0.3}, {6, 0.4}}}, {"c", []Point{{3, 0.1}}}}},
	}
}

func TestAPictureShowsThePanels(t *testing.T) {
	out := Draw(panels(), 60)
	for decoder := xml.NewDecoder(strings.NewReader(string(out))); ; {
		if _, err := decoder.Token(); err == io.EOF {
			break
		} else if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	for what, want := range map[string]string{
		"the newest number, in its color": `fill="#1a7f37">2</text>`,
		"the query":                       `{{a}}: rate(x{a=&#34;b&#34;}[1m])`,
		"the limits":                      `green from any value, yellow from 500 ms`,
		"the limit as a line":             `stroke="#9a6700" stroke-dasharray`,
		"the title as text":               `Duration &lt;b&gt;`,
	} {
		if !strings.Contains(string(out), want) {
			t.Errorf("%s: there is no %s in\n%s", what, want, out)
		}
	}
	if d := cmp.Diff([]string{"pods", "<script>, c"}, Legends(out)); d != "" {
		t.Errorf("-want +legends\n%s", d)
	}
	var begins []int
	for _, m := range regexp.MustCompile(`class="line" d="([^"]*)"`).FindAllStringSubmatch(string(out), -1) {
		begins = append(begins, strings.Count(m[1], "M"))
	}
	if d := cmp.Diff([]int{2, 1}, begins); d != "" {
		t.Errorf("the first line has a gap where points are missing, the second is a dot:\n%s", d)
	}
}

// What a picture shows in addition to the answers is compared: each of it counts.
func TestWithoutDataIsEqualForOtherAnswersAndDiffersForOtherPanels(t *testing.T) {
	want := WithoutData(Draw(panels(), 60))
	others := panels()
	others[0].Series, others[1].Series = nil, nil
	if d := cmp.Diff(want, WithoutData(Draw(others, 60))); d != "" {
		t.Errorf("it depends on the answers:\n%s", d)
	}
	for name, change := range map[string]func(*Panel){
		"title": func(p *Panel) { p.Title = "x" }, "unit": func(p *Panel) { p.Unit = "x" }, "place": func(p *Panel) { p.X++ },
		"query": func(p *Panel) { p.Queries[0].Expr = "x" }, "legend": func(p *Panel) { p.Queries[0].Legend = "x" },
		"limit": func(p *Panel) { p.Steps[1].From = new(0.6) }, "color": func(p *Panel) { p.Steps[1].Color = "red" },
	} {
		changed := panels()
		change(&changed[1])
		if WithoutData(Draw(changed, 60)) == want {
			t.Errorf("another %s is not seen", name)
		}
	}
}

func TestFormat(t *testing.T) {
	for _, c := range []struct {
		value      float64
		unit, want string
	}{
		{2, "short", "2"}, {1234567, "short", "1230000"}, {0.99912, "percentunit", "99.9%"}, {1, "percentunit", "100%"}, {0, "s", "0"}, {0.000254, "s", "254 µs"}, {0.5, "s", "500 ms"}, {7776000, "s", "90 d"},
		{134217728, "bytes", "128 MiB"}, {9.87, "reqps", "9.87 req/s"}, {0.0501, "ops", "0.0501 ops/s"}, {3, "lumen", "3 (lumen)"},
	} {
		if got := format(c.value, c.unit); got != c.want {
			t.Errorf("%v %s is %q, want %q", c.value, c.unit, got, c.want)
		}
	}
}

func TestTicksAreRound(t *testing.T) {
	for _, c := range [][2]float64{{0, 1}, {1, 0.2}, {2, 0.5}, {2.4, 0.5}, {4.9, 1}, {7, 2}, {10, 2}, {0.03, 0.01}} {
		if got := tick(c[0]); math.Abs(got-c[1]) > 1e-9 {
			t.Errorf("up to %v the lines are %v apart, want %v", c[0], got, c[1])
		}
	}
}
