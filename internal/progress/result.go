// SPDX-License-Identifier: Apache-2.0

package progress

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/castai/privatelink-webhook/internal/exitcode"
	"github.com/castai/privatelink-webhook/internal/mirror"
	"github.com/castai/privatelink-webhook/internal/mirror/archive"
	"github.com/castai/privatelink-webhook/internal/output"
	"github.com/castai/privatelink-webhook/internal/target"
	"github.com/castai/privatelink-webhook/internal/terminal"
	"github.com/castai/privatelink-webhook/internal/textreport"
)

// summary is the last event of a copy or a comparison.
type summary struct {
	Event     string         `json:"event"`
	Version   string         `json:"version"`
	Target    target.Target  `json:"target,omitzero"`
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
	// Lacks are the digests that an incomplete image lacks.
	Lacks []digest.Digest `json:"lacks,omitempty"`
	Error string          `json:"error,omitempty"`
	// Uncompared is set if a present image was not compared with its source.
	Uncompared bool `json:"uncompared,omitempty"`
}

func (r *Reporter) summary(p *mirror.Plan, took time.Duration) {
	s := summary{
		Event: "summary", Version: r.Version, Target: r.Target, Create: p.Create, Manifests: p.Manifests,
		Upload: p.Upload, Mount: p.Mount, Read: p.Read, Seconds: took.Seconds(), Images: []summaryImage{},
	}
	for _, i := range p.Items {
		s.Images = append(s.Images, newSummaryImage(i))
	}
	r.record(s)
}

func newSummaryImage(i *mirror.Item) summaryImage {
	image := summaryImage{Source: i.Source, Target: i.Target, State: i.State, Digest: i.Digest().String(), Found: i.Found.String(), Lacks: i.Lacks, Uncompared: i.Uncompared}
	if i.Err != nil {
		image.Error = i.Err.Error()
	}
	return image
}

// WriteHeader writes the header of a report for people.
func (r *Reporter) WriteHeader() error {
	if r.Format != output.Text {
		return nil
	}
	return textreport.Header{Program: r.Program, Target: r.Target}.Write(r.Out)
}

// WriteNext ends a report for people, if there is one, with what to do next, and returns
// err, the result of the command.
func (r *Reporter) WriteNext(err error) error {
	if r.Format != output.Text || !r.isReported {
		return err
	}
	const correct = "correct the errors, and run the command again"
	step, severity := cmp.Or(r.next, correct), textreport.Faulty
	switch {
	case err == nil:
		step, severity = "nothing to do, all images are in the private registry", textreport.Nothing
	case exitcode.Code(err) != exitcode.ActionNeeded && step != correct:
		step = "correct the errors; then " + step
	}
	if errWrite := textreport.WriteNext(r.Out, severity, step); err == nil {
		return errWrite
	}
	return err
}

// Compared reports a plan that will not be run. remedy says how to copy what is missing.
// It returns an error with exit code 3 if images are missing, incomplete or different,
// and 1 if any could not be compared.
func (r *Reporter) Compared(p *mirror.Plan, remedy string) error {
	r.isReported = true
	switch r.Format {
	case output.Text:
		r.printPlan(p)
	case output.HTML:
		if err := r.writeHTML(p, time.Now()); err != nil {
			return err
		}
	default:
		r.summary(p, 0)
	}
	failed, action := p.Count(mirror.StateFailed), p.Count(mirror.StateMissing)+p.Count(mirror.StateDiffers)+p.Count(mirror.StateIncomplete)
	if action > 0 {
		r.next = "copy the images: " + remedy
	}
	if p.Count(mirror.StateDiffers) > 0 {
		r.next += "; a tag that differs is moved by --overwrite only"
	}
	switch {
	case failed > 0:
		return exitcode.AlreadyPrintedf("%d images could not be compared", failed)
	case action > 0:
		return exitcode.ActionNeededf("%d images are missing, incomplete or different", action)
	}
	return nil
}

func (r *Reporter) printPlan(p *mirror.Plan) {
	if n := p.Count(mirror.StateMissing) + p.Count(mirror.StateIncomplete) + p.Count(mirror.StateDiffers); n > 0 {
		_ = textreport.WriteGroup(r.Out, "images") // as an error of the lines below
	}
	for _, i := range byState(p) {
		r.printItem(i)
	}
	if len(p.Create) > 0 {
		_ = textreport.WriteGroup(r.Out, "repositories")
	}
	for _, repository := range p.Create {
		fmt.Fprintf(r.Out, "to be created: repository %s\n", repository)
	}
	fmt.Fprintln(r.Out)
	incomplete := ""
	if n := p.Count(mirror.StateIncomplete); n > 0 {
		incomplete = fmt.Sprintf(", %d incomplete", n)
	}
	fmt.Fprintf(r.Out, "%d images: %d present, %d missing, %d differ%s, %d failed\n",
		len(p.Items), p.Count(mirror.StatePresent), p.Count(mirror.StateMissing), p.Count(mirror.StateDiffers), incomplete, p.Count(mirror.StateFailed))
	if n := uncompared(p); n > 0 {
		fmt.Fprintf(r.Out, "%d present images are not in the lock file, and were not compared with their sources: add --update for that\n", n)
	}
	if p.Upload+p.Mount > 0 {
		fmt.Fprintf(r.Out, "to be written: %s in %d manifests and their layers; %s more is shared; read once: %s\n",
			FormatBytes(p.Upload), p.Manifests, FormatBytes(p.Mount), FormatBytes(p.Read))
	}
}

// printItem prints an image that is not in the registry as it should be.
func (r *Reporter) printItem(i *mirror.Item) {
	state := func(style terminal.Style) { _ = terminal.WriteStyled(r.Out, style, string(i.State)) }
	switch i.State {
	case mirror.StateMissing:
		state(terminal.Red)
		fmt.Fprintf(r.Out, "  %s\n         from %s\n", i.Target, i.Source)
		if len(i.Why) > 0 {
			fmt.Fprintf(r.Out, "         for %s%s\n", i.Why[0], others(len(i.Why)-1))
		}
	case mirror.StateIncomplete:
		state(terminal.Yellow)
		fmt.Fprintf(r.Out, "  %s\n            %s\n", i.Target, i.DescribeLacks())
	case mirror.StateDiffers:
		state(terminal.Red)
		fmt.Fprintf(r.Out, "  %s is %s\n         and %s is %s\n", i.Target, i.Found, i.Source, i.Digest())
	}
}

// others is the end of a list of which the first is named.
func others(n int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf(", and %d more", n)
}

// uncompared counts the images that are present and were not compared.
func uncompared(p *mirror.Plan) (count int) {
	for _, i := range p.Items {
		if i.Uncompared {
			count++
		}
	}
	return count
}

// byState sorts images that need action to the end, where the reader looks first.
func byState(p *mirror.Plan) []*mirror.Item {
	items := slices.Clone(p.Items)
	slices.SortStableFunc(items, func(a, b *mirror.Item) int {
		return cmp.Or(cmp.Compare(b.State, a.State), cmp.Compare(a.Target, b.Target))
	})
	return items
}

// Copied reports a plan that was run. It returns an error with exit code 1 if an
// image is not in the private registry.
func (r *Reporter) Copied(p *mirror.Plan, progress *mirror.Progress, took time.Duration) error {
	r.isReported = true
	failed := p.Count(mirror.StateFailed) + p.Count(mirror.StateDiffers)
	if r.Format != output.Text {
		r.summary(p, took)
	} else {
		fmt.Fprintf(r.Out, "%d images: %d copied, %d present before, %d not copied; %s, of which %s is shared, in %s\n",
			len(p.Items), p.Count(mirror.StateCopied), p.Count(mirror.StatePresent), failed,
			FormatBytes(progress.Done.Load()), FormatBytes(progress.Mounted.Load()), took.Round(10*time.Millisecond))
	}
	if failed > 0 {
		return exitcode.AlreadyPrintedf("%d images were not copied", failed)
	}
	return nil
}

// exportSummary is the last event of an export.
type exportSummary struct {
	Event    string         `json:"event"`
	Version  string         `json:"version"`
	Files    []exportedFile `json:"files"`
	Bytes    int64          `json:"bytes"`
	Images   int            `json:"images"`
	Blobs    int            `json:"blobs"`
	Fetched  int64          `json:"fetchedBytes"`
	Kept     int64          `json:"keptBytes"`
	Assumed  int64          `json:"assumedBytes"`
	Warnings []string       `json:"warnings,omitempty"`
	// Failed are the images that are not in the archive.
	Failed []summaryImage `json:"failed,omitempty"`
}

type exportedFile struct {
	Name   string `json:"name"`
	Bytes  int64  `json:"bytes"`
	Digest string `json:"digest"`
}

// Exported reports the archive that an export wrote, and the images that are not in it.
// These make the result an error with exit code 1.
func (r *Reporter) Exported(s archive.Summary, failed []*mirror.Item) error {
	r.exported(s, failed)
	if len(failed) > 0 {
		return exitcode.AlreadyPrintedf("%d images are not in the archive", len(failed))
	}
	return nil
}

func (r *Reporter) exported(s archive.Summary, failed []*mirror.Item) {
	if r.Format != output.Text {
		j := exportSummary{Event: "summary", Version: r.Version, Bytes: s.Size, Images: s.Images, Blobs: s.Blobs, Fetched: s.Fetched, Kept: s.Kept, Assumed: s.Assumed, Warnings: s.Unread}
		for _, p := range s.Parts {
			j.Files = append(j.Files, exportedFile{p.Name, p.Size, p.Digest.String()})
		}
		for _, i := range failed {
			j.Failed = append(j.Failed, newSummaryImage(i))
		}
		r.record(j)
		return
	}
	for _, u := range s.Unread {
		r.logf("warning: its layers were not left out: %s", u)
	}
	for _, p := range s.Parts {
		fmt.Fprintf(r.Out, "%s  %s  %s\n", p.Name, FormatBytes(p.Size), p.Digest)
	}
	fmt.Fprintf(r.Out, "%d images, %s; %s were fetched", s.Images, FormatBytes(s.Size), FormatBytes(s.Fetched))
	if s.Kept > 0 {
		fmt.Fprintf(r.Out, ", %s were there from before", FormatBytes(s.Kept))
	}
	if s.Assumed > 0 {
		fmt.Fprintf(r.Out, ", %s are left out: the private registry must have them", FormatBytes(s.Assumed))
	}
	if len(failed) > 0 {
		fmt.Fprintf(r.Out, "; %d images failed and are not in the archive", len(failed))
	}
	fmt.Fprintln(r.Out)
}
