// SPDX-License-Identifier: Apache-2.0

package htmlreport

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Picture is a drawing of boxes and of the connections between them.
type Picture struct {
	Title         string
	Width, Height int
	Frames        []Frame
	Lines         [][2]Point // connections without a state
	Elements      []Element
	// Note says what could not be drawn.
	Note string
}

// Frame is a border with a heading around other parts. It has no state.
type Frame struct {
	X, Y, W, H int
	Label      string
}

// Element is a part of the picture with a state: a box or, if it has a path, a connection
// with a label.
type Element struct {
	X, Y, W, H int
	Path       []Point // from the first to the last point
	Number     int
	// Label is the name, and Text a second line.
	Label, Text string
	State       State
	// Checks are the entries that concern the element, and Causes those of them that
	// give it its state.
	Checks, Causes []Reference
}

// Point is a position in the picture.
type Point struct{ X, Y int }

// AccessibleName is what a screen reader says, such as "Endpoint ecr.api: failed, check 12".
func (e Element) AccessibleName() string {
	name := e.Label + ": " + string(e.State)
	if len(e.Causes) == 0 {
		return name
	}
	word := ", check "
	if len(e.Causes) > 1 {
		word = ", checks "
	}
	return name + word + numbers(e.Causes, len(e.Causes))
}

// Mark is the state with the numbers of the entries that cause it, for the box.
func (e Element) Mark() string {
	mark := string(e.State)
	if e.State != OK {
		mark = strings.ToUpper(mark)
	}
	if len(e.Causes) == 0 {
		return mark
	}
	return mark + " · " + numbers(e.Causes, 3)
}

// numbers lists at most limit numbers.
func numbers(references []Reference, limit int) string {
	var list []string
	for _, r := range references {
		list = append(list, strconv.Itoa(r.Number))
	}
	if more := len(list) - limit; more > 0 {
		return strings.Join(list[:limit], ", ") + fmt.Sprintf(" +%d", more)
	}
	return strings.Join(list, ", ")
}

// MarkY is the line of the mark in the box.
func (e Element) MarkY() int {
	if e.Text == "" {
		return 32
	}
	return 47
}

// Line returns the path as the attribute points.
func (e Element) Line() string {
	var points []string
	for _, p := range e.Path {
		points = append(points, fmt.Sprintf("%d,%d", p.X, p.Y))
	}
	return strings.Join(points, " ")
}

// Arrow returns the head of the arrow at the end of the path, which leads to the right, as
// the attribute points.
func (e Element) Arrow() string {
	end := e.Path[len(e.Path)-1]
	return fmt.Sprintf("%d,%d %d,%d %d,%d", end.X, end.Y, end.X-11, end.Y-6, end.X-11, end.Y+6)
}

// The widths of a letter in labels and in the smaller text below them, in pixels.
const (
	labelLetter = 8.2
	textLetter  = 6.6
)

// ShortLabel and ShortText return a text that loses its middle if it is wider than the
// box. The whole of it is in the title of the element. What is still too wide in another
// font is cut off.
func (e Element) ShortLabel() string { return shorten(e.Label, e.W, labelLetter) }

// ShortText is ShortLabel for the second line.
func (e Element) ShortText() string { return shorten(e.Text, e.W, textLetter) }

// ShortLabel returns the label as far as there is space.
func (f Frame) ShortLabel() string { return shorten(f.Label, f.W, labelLetter) }

func shorten(text string, width int, letter float64) string {
	limit := int(float64(width-16) / letter)
	if utf8.RuneCountInString(text) <= limit {
		return text
	}
	runes := []rune(text)
	head := (limit - 1) / 2
	return string(slices.Concat(runes[:head], []rune("…"), runes[len(runes)-(limit-1-head):]))
}
