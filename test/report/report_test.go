// SPDX-License-Identifier: Apache-2.0

//go:build report

package report

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestReport opens all reports in one browser.
func TestReport(t *testing.T) {
	b := startBrowser(t)
	for name, test := range map[string]func(*testing.T, *browser){
		"healthy": testHealthy, "faults": testFaults, "markup": testMarkup, "long names": testLongNames, "contrast": testContrast, "keyboard and structure": testKeyboardAndStructure,
	} {
		t.Run(name, func(t *testing.T) { test(t, b) })
	}
	t.Run("screenshots", func(t *testing.T) { testScreenshots(t, b) }) // it changes the size of the window
}

// maxSize is that of a report, in bytes.
const maxSize = 300_000

// show writes a report and opens it. Any complaint of the browser fails the test.
func show(t *testing.T, b *browser, document []byte) {
	t.Helper()
	if len(document) > maxSize {
		t.Errorf("%d bytes", len(document))
	}
	path := filepath.Join(t.TempDir(), "report.html")
	if err := os.WriteFile(path, document, 0o644); err != nil {
		t.Fatal(err)
	}
	b.open(t, path)
	var origin string
	b.evaluate(t, "document.title", &origin) // events of the page precede this answer
	for _, c := range b.complaints(path) {
		t.Error(c)
	}
}

// states returns the names and states of the parts whose state matches, from the
// accessibility tree.
func states(t *testing.T, b *browser, state string) (parts []string) {
	t.Helper()
	form := regexp.MustCompile(`^(.*: (?:` + state + `)), checks? [0-9, ]+$`)
	for _, name := range b.links(t) {
		if m := form.FindStringSubmatch(name); m != nil {
			parts = append(parts, m[1])
		}
	}
	return parts
}

func testHealthy(t *testing.T, b *browser) {
	show(t, b, healthy(t).html(t))
	if bad := states(t, b, "failed|warning|unknown"); len(bad) > 0 {
		t.Errorf("%q", bad)
	}
	if ok := states(t, b, "ok"); len(ok) < 30 {
		t.Errorf("only %q are ok", ok)
	}
}

// The part that a fault concerns turns red, and no other.
func testFaults(t *testing.T, b *browser) {
	for _, f := range faults() {
		t.Run(f.name, func(t *testing.T) {
			c := healthy(t)
			f.inject(c)
			show(t, b, c.html(t))
			got := slices.Sorted(slices.Values(states(t, b, "failed|warning")))
			want := slices.Sorted(slices.Values(f.parts))
			if !slices.Equal(got, want) {
				t.Errorf("%q, want %q", got, want)
			}
			var red []string
			b.evaluate(t, `[...document.querySelectorAll('a.part')].filter(a => ['failed', 'warning'].some(s => a.classList.contains(s))).map(a => a.getAttribute('aria-label'))`, &red)
			if len(red) != len(want) {
				t.Errorf("red or yellow are %q", red)
			}
		})
	}
}

// Markup in every name and text is shown as it is: no dialog, request, script or element.
func testMarkup(t *testing.T, b *browser) {
	c := healthy(t)
	var want, got int
	const count = `document.querySelectorAll('*').length`
	fill := func(text string) []byte {
		r := c.report(t)
		r.Target.Cluster, r.Target.Registry, r.Network.Name, r.Network.VPC = text, text, text, text
		r.Network.Subnets[0].Name, r.Network.Subnets[1].ID, r.Network.Endpoints[2].State = text, text, text
		for i := range r.Results {
			r.Results[i].Finding.Found, r.Results[i].Finding.Remedy, r.Results[i].Finding.Details = text, text, []string{text}
		}
		return render(t, r)
	}
	show(t, b, fill("x"))
	b.evaluate(t, count, &want)
	for _, hostile := range []string{`"><img src=https://example.com/x onerror=alert(1)>`, `</title></svg></style><script>alert(1)</script>`, `<svg onload=alert(1)><style>@import url(https://example.com)</style>`} {
		show(t, b, fill(hostile))
		if b.evaluate(t, count, &got); got != want {
			t.Errorf("%s: %d elements instead of %d", hostile, got, want)
		}
	}
}

// Names of 253 characters stay in their boxes, in narrow and in wide letters.
func testLongNames(t *testing.T, b *browser) {
	for _, letter := range []string{"i", "W", "漢"} {
		r := healthy(t).report(t)
		name := strings.Repeat(letter, 253)
		r.Target.Registry, r.Network.Name, r.Network.Subnets[0].Name, r.Network.Subnets[1].Zone, r.Network.Endpoints[0].ID = name, name, name, name, name
		show(t, b, render(t, r))
		var open int
		b.evaluate(t, `[...document.querySelectorAll('svg svg')].filter(s => getComputedStyle(s).overflow !== 'hidden').length`, &open)
		var inTitle, isWide bool
		b.evaluate(t, `[...document.querySelectorAll('a.part title')].some(e => e.textContent.includes('`+name+`'))`, &inTitle)
		b.evaluate(t, `document.documentElement.scrollWidth > window.innerWidth`, &isWide)
		if open != 0 || !inTitle || isWide {
			t.Errorf("%s: %d boxes do not cut their text; the whole name is in a title: %t; the page is wider than the window: %t", letter, open, inTitle, isWide)
		}
	}
}

// contrast returns the lowest contrast of a text and what is behind it.
// https://www.w3.org/TR/WCAG22/#dfn-contrast-ratio
const contrast = `(() => {
  const channels = c => c.match(/[\d.]+/g).map(Number);
  const light = c => { const [r, g, b] = channels(c).slice(0, 3).map(v => v / 255).map(v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4); return .2126 * r + .7152 * g + .0722 * b; };
  const solid = c => c !== 'none' && (channels(c)[3] ?? 1) > 0;
  const behind = e => { for (; e; e = e.parentElement) { const c = getComputedStyle(e).backgroundColor; if (solid(c)) return c; } return 'rgb(255, 255, 255)'; };
  let worst = 21;
  const compare = (a, b) => { const [x, y] = [light(a), light(b)].sort((p, q) => q - p); worst = Math.min(worst, (x + .05) / (y + .05)); };
  for (const e of document.querySelectorAll('h1, h2, h3, p, dt, dd, li, td, th, a:not(.part):not(.skip), small, pre, strong')) if (e.offsetParent && e.textContent.trim()) compare(getComputedStyle(e).color, behind(e));
  for (const t of document.querySelectorAll('svg text')) { const box = t.closest('a')?.querySelector('.box'); const c = box && getComputedStyle(box).fill; compare(getComputedStyle(t).fill, c && solid(c) ? c : behind(t.closest('figure'))); }
  return worst;
})()`

// All texts can be read: light, dark, and printed from dark, on paper that is white.
func testContrast(t *testing.T, b *browser) {
	c := healthy(t)
	c.remove("ecr.api")
	c.remove("autoscaling")
	c.dnsServer = "10.0.0.53"
	r := c.report(t)
	r.Results[len(r.Results)-1].Finding.Status = "skipped"
	r.Results[0].Finding.Status = "unknown"
	show(t, b, render(t, r))
	defer b.emulate(t, "", "")
	for _, m := range []struct{ medium, scheme, back string }{{"screen", "light", "rgb(255, 255, 255)"}, {"screen", "dark", "rgb(13, 17, 23)"}, {"print", "dark", "rgb(255, 255, 255)"}} {
		b.emulate(t, m.medium, m.scheme)
		var worst float64
		var back string
		b.evaluate(t, contrast, &worst)
		b.evaluate(t, `getComputedStyle(document.body).backgroundColor`, &back)
		if worst < 4.5 || worst > 20 || back != m.back {
			t.Errorf("%s, %s: contrast %.1f, background %s", m.medium, m.scheme, worst, back)
		}
	}
	var pdf struct{ Data string }
	b.call(t, "Page.printToPDF", nil, &pdf)
	if text, err := base64.StdEncoding.DecodeString(pdf.Data); err != nil || !strings.HasPrefix(string(text), "%PDF-") {
		t.Errorf("it cannot be printed: %v", err)
	}
}

// The keyboard reaches each part, and each link has a target. Headings are in order, and
// the landmarks of a page exist once.
func testKeyboardAndStructure(t *testing.T, b *browser) {
	c := healthy(t)
	c.remove("ecr.api")
	show(t, b, c.html(t))
	for what, expression := range map[string]string{
		"parts without focus":     `[...document.querySelectorAll('a.part')].filter(a => { a.focus(); return document.activeElement !== a; }).length`,
		"links without a target":  `[...document.querySelectorAll('a')].filter(a => !document.getElementById(a.getAttribute('href').slice(1))).length`,
		"landmarks":               `Math.abs(document.querySelectorAll('main').length - 1) + Math.abs(document.querySelectorAll('nav').length - 1) + Math.abs(document.querySelectorAll('header').length - 1)`,
		"skipped heading levels":  `[...document.querySelectorAll('h1, h2, h3')].filter((h, i, all) => i && h.tagName[1] - all[i - 1].tagName[1] > 1).length`,
		"duplicate ids":           `[...document.querySelectorAll('[id]')].filter((e, i, all) => all.findIndex(o => o.id === e.id) !== i).length`,
		"states that are no word": `[...document.querySelectorAll('a.part')].filter(a => !/ok|FAILED|WARNING|UNKNOWN|NOT CHECKED/.test(a.querySelector('.mark').textContent)).length`,
	} {
		expectNone(t, b, what, expression)
	}
	// A viewer may drop the styles: boxes must not become black then.
	expectNone(t, b, "boxes that hide their text", `(() => { document.querySelector('style').remove(); return [...document.querySelectorAll('svg .box')].filter(r => getComputedStyle(r).fill !== 'none').length; })()`)
}

func expectNone(t *testing.T, b *browser, what, expression string) {
	t.Helper()
	var n int
	if b.evaluate(t, expression, &n); n != 0 {
		t.Errorf("%s: %d", what, n)
	}
}

// pictures are the screenshots in the documentation.
var pictures = filepath.Join("..", "..", "docs", "reference", "report")

// testScreenshots renders the screenshots, and compares the reports that they were made
// from with those of today. With UPDATE_SCREENSHOTS=1 it writes both.
func testScreenshots(t *testing.T, b *browser) {
	b.call(t, "Emulation.setDeviceMetricsOverride", map[string]any{"width": 1360, "height": 1500, "deviceScaleFactor": 1, "mobile": false}, nil)
	clip := map[string]any{"clip": map[string]any{"x": 0, "y": 0, "width": 1360, "height": 1500, "scale": 0.7}}
	var sums strings.Builder
	for _, p := range []struct {
		name   string
		inject func(*customer)
	}{
		{"healthy", func(*customer) {}},
		{"ecr-missing", func(c *customer) { c.remove("ecr.api") }},
		{"s3-route", func(c *customer) { c.subnets[1].table = "rtb-0ffffffffffffffff" }},
		{"webhook-port", func(c *customer) { c.nodeIngress = otherPort }},
	} {
		c := healthy(t)
		p.inject(c)
		document := c.html(t)
		fmt.Fprintf(&sums, "%x  %s.png\n", sha256.Sum256(document), p.name)
		show(t, b, document)
		var shot struct{ Data string }
		b.call(t, "Page.captureScreenshot", clip, &shot)
		png, err := base64.StdEncoding.DecodeString(shot.Data)
		if err != nil || len(png) > 200_000 {
			t.Fatalf("%s: %d bytes, %v", p.name, len(png), err)
		}
		if os.Getenv("UPDATE_SCREENSHOTS") != "" {
			if err := os.WriteFile(filepath.Join(pictures, p.name+".png"), png, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	file := filepath.Join(pictures, "reports.sha256")
	if os.Getenv("UPDATE_SCREENSHOTS") != "" {
		if err := os.WriteFile(file, []byte(sums.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if text, err := os.ReadFile(file); err != nil || string(text) != sums.String() {
		t.Errorf("the screenshots are of older reports: UPDATE_SCREENSHOTS=1 make report (%v)", err)
	}
}
