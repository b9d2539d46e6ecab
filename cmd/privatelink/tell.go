// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
	"golang.org/x/term"

	"github.com/castai/privatelink-webhook/internal/mirror"
)

// teller tells a person, a log or a program what a copy does.
type teller struct {
	out, log io.Writer
	json     bool
	terminal bool

	mu   sync.Mutex
	bars *mpb.Progress // while they are shown
}

func newTeller(c *cobra.Command, output string) (*teller, error) {
	if output != "" && output != "json" {
		return nil, usageError{fmt.Errorf("--output %q: there is only json", output)}
	}
	t := &teller{out: c.OutOrStdout(), log: c.ErrOrStderr(), json: output == "json"}
	if f, ok := t.log.(*os.File); ok && !t.json {
		t.terminal = term.IsTerminal(int(f.Fd()))
	}
	return t, nil
}

// event is called from several goroutines.
func (t *teller) event(e mirror.Event) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.json:
		t.line(e)
	case e.Kind == mirror.EventFailed, e.Kind == mirror.EventWarning:
		t.say("%s: %s: %s", e.Kind, e.Source, e.Message)
	case e.Kind == mirror.EventCreated:
		t.say("created the repository %s", e.Target)
	case e.Kind == mirror.EventCopied && !t.terminal:
		t.say("copied %s to %s", e.Source, e.Target)
	}
}

// say writes a line above the bars, if there are any.
func (t *teller) say(format string, args ...any) {
	if t.bars != nil {
		fmt.Fprintf(t.bars, format+"\n", args...)
		return
	}
	fmt.Fprintf(t.log, format+"\n", args...)
}

func (t *teller) line(v any) {
	text, err := json.Marshal(v)
	if err == nil {
		_, _ = fmt.Fprintf(t.out, "%s\n", text)
	}
}

// progress shows how far a run is, until stop is called: bars on a terminal, else
// a line now and then.
func (t *teller) progress(ctx context.Context, p *mirror.Progress) (stop func()) {
	switch {
	case t.json:
		return func() {}
	case t.terminal:
		return t.showBars(ctx, p)
	}
	return every(ctx, 5*time.Second, func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.say("%s of %s, %d of %d images", size(p.Done.Load()), size(p.Total.Load()), p.ImagesDone.Load(), p.Images.Load())
	})
}

// every calls f again and again, until stop is called.
func every(ctx context.Context, d time.Duration, f func()) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(d)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				f()
			}
		}
	})
	return func() { cancel(); wg.Wait() }
}

func (t *teller) showBars(ctx context.Context, p *mirror.Progress) (stop func()) {
	bars := mpb.New(mpb.WithOutput(t.log), mpb.WithWidth(40), mpb.WithRefreshRate(100*time.Millisecond))
	amount := bars.AddBar(0, mpb.PrependDecorators(decor.Name("bytes  ")),
		mpb.AppendDecorators(decor.CountersKibiByte("% .1f / % .1f "), decor.AverageSpeed(decor.SizeB1024(0), "% .1f "), decor.AverageETA(decor.ET_STYLE_GO)))
	images := bars.AddBar(0, mpb.PrependDecorators(decor.Name("images ")), mpb.AppendDecorators(decor.CountersNoUnit("%d / %d")))
	t.mu.Lock()
	t.bars = bars
	t.mu.Unlock()
	show := func() {
		amount.SetTotal(max(1, p.Total.Load()), false)
		amount.SetCurrent(p.Done.Load())
		images.SetTotal(max(1, p.Images.Load()), false)
		images.SetCurrent(p.ImagesDone.Load())
	}
	end := every(ctx, 100*time.Millisecond, show)
	return func() {
		end()
		show()
		amount.Abort(false) // keeps the line as it is; a copy that failed is not complete
		images.Abort(false)
		bars.Wait()
		t.mu.Lock()
		t.bars = nil
		t.mu.Unlock()
	}
}

// summary is the last line of the JSON.
type summary struct {
	Event     string         `json:"event"`
	Version   string         `json:"version"`
	Images    []summaryImage `json:"images"`
	Create    []string       `json:"repositoriesToCreate,omitempty"`
	Manifests int            `json:"manifests"`
	Upload    int64          `json:"uploadBytes"`
	Mount     int64          `json:"mountBytes"`
	Read      int64          `json:"readBytes"`
	Seconds   float64        `json:"seconds,omitempty"`
}

type summaryImage struct {
	Source string       `json:"source"`
	Target string       `json:"target"`
	State  mirror.State `json:"state"`
	Digest string       `json:"digest,omitempty"`
	Found  string       `json:"found,omitempty"`
	Error  string       `json:"error,omitempty"`
}

func (t *teller) summary(p *mirror.Plan, seconds float64) {
	s := summary{Event: "summary", Version: version, Create: p.Create, Manifests: p.Manifests, Upload: p.Upload, Mount: p.Mount, Read: p.Read, Seconds: seconds, Images: []summaryImage{}}
	for _, i := range p.Items {
		image := summaryImage{Source: i.Source, Target: i.Target, State: i.State, Digest: i.Digest().String(), Found: i.Found.String()}
		if i.Err != nil {
			image.Error = i.Err.Error()
		}
		s.Images = append(s.Images, image)
	}
	t.line(s)
}

// planned reports what a dry run found. It fails if there is something to do.
func (t *teller) planned(p *mirror.Plan) error {
	if t.json {
		t.summary(p, 0)
	} else {
		for _, i := range byState(p) {
			switch i.State {
			case mirror.StateMissing:
				fmt.Fprintf(t.out, "missing  %s\n         from %s\n", i.Target, i.Source)
			case mirror.StateDiffers:
				fmt.Fprintf(t.out, "differs  %s is %s\n         and %s is %s\n", i.Target, i.Found, i.Source, i.Digest())
			}
		}
		for _, r := range p.Create {
			fmt.Fprintf(t.out, "to be created: repository %s\n", r)
		}
		fmt.Fprintf(t.out, "%d images: %d present, %d missing, %d differ, %d failed\n", len(p.Items), p.Count(mirror.StatePresent), p.Count(mirror.StateMissing), p.Count(mirror.StateDiffers), p.Count(mirror.StateFailed))
		if p.Upload+p.Mount > 0 {
			fmt.Fprintf(t.out, "to be written: %s in %d manifests and their layers; %s more is shared; read once: %s\n", size(p.Upload), p.Manifests, size(p.Mount), size(p.Read))
		}
	}
	switch missing := p.Count(mirror.StateMissing) + p.Count(mirror.StateDiffers); {
	case p.Count(mirror.StateFailed) > 0:
		return reported{fmt.Errorf("%d images could not be compared", p.Count(mirror.StateFailed))}
	case missing > 0:
		return incomplete{missing}
	}
	return nil
}

// byState sorts what is wrong to the end, where a person reads.
func byState(p *mirror.Plan) []*mirror.Item {
	items := slices.Clone(p.Items)
	slices.SortStableFunc(items, func(a, b *mirror.Item) int {
		return cmp.Or(cmp.Compare(b.State, a.State), cmp.Compare(a.Target, b.Target))
	})
	return items
}

// done reports what a run did. It fails if an image is not there.
func (t *teller) done(p *mirror.Plan, progress *mirror.Progress, took time.Duration) error {
	failed := p.Count(mirror.StateFailed) + p.Count(mirror.StateDiffers)
	if t.json {
		t.summary(p, took.Seconds())
	} else {
		fmt.Fprintf(t.out, "%d images: %d copied, %d present before, %d not copied; %s, of which %s is shared, in %s\n",
			len(p.Items), p.Count(mirror.StateCopied), p.Count(mirror.StatePresent), failed, size(progress.Done.Load()), size(progress.Mounted.Load()), took.Round(10*time.Millisecond))
	}
	if failed > 0 {
		return reported{fmt.Errorf("%d images were not copied", failed)}
	}
	return nil
}

// incomplete is the answer of a check that found something: exit code 3.
type incomplete struct{ images int }

func (i incomplete) Error() string { return fmt.Sprintf("%d images are missing or differ", i.images) }

// size is a number of bytes for people.
func size(n int64) string {
	if n < 1024 {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("% .1f", decor.SizeB1024(n))
}
