// SPDX-License-Identifier: Apache-2.0

package terminal

import "io"

// Style is a way to display text, as the parameter of the control sequence SGR.
type Style string

// The styles. Colors repeat what the words say.
const (
	Plain  Style = ""
	Bold   Style = "1"
	Red    Style = "31"
	Green  Style = "32"
	Yellow Style = "33"
)

// WithStyles makes w display styles if it is a terminal that is known to do so, and the
// user does not object (https://no-color.org). A terminal without TERM, as the console of
// Windows, counts only if it is Windows Terminal.
func (w *Writer) WithStyles(getenv func(string) string) *Writer {
	term := getenv("TERM")
	w.isStyled = IsTerminal(w.w) && getenv("NO_COLOR") == "" && term != "dumb" && (term != "" || getenv("WT_SESSION") != "")
	return w
}

// WriteStyled writes text in a style, or as it is if w does not display styles.
func WriteStyled(w io.Writer, style Style, text string) error {
	styled, ok := w.(*Writer)
	if !ok || !styled.isStyled || style == Plain || text == "" {
		_, err := io.WriteString(w, text)
		return err
	}
	styled.mu.Lock()
	defer styled.mu.Unlock()
	_, err := io.WriteString(styled.w, "\x1b["+string(style)+"m"+Escape(text)+"\x1b[0m")
	return err
}
