package progress

import (
	"hash/fnv"
	"io"
	"os"
	"strconv"
	"strings"

	"charm.land/lipgloss/v2"
	"golang.org/x/term"
)

// Terminal is what is known of the screen that progress and results go to.
type Terminal struct {
	Live    bool // the stream of progress is a terminal that can redraw
	Pretty  bool // the stream of results is a terminal
	NoColor bool
	fd      int // of stderr
	Style   Palette
}

// Palette colours words; without colour it leaves them alone. It uses the 16
// colours that the user's own theme defines.
type Palette struct{ On bool }

// Inspect looks at the streams and the environment (NO_COLOR, TERM).
func Inspect(progress, results io.Writer, env func(string) string) Terminal {
	t := Terminal{fd: -1}
	if f, ok := progress.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		t.fd = int(f.Fd())
		t.Live = env("TERM") != "dumb"
	}
	if f, ok := results.(*os.File); ok {
		t.Pretty = term.IsTerminal(int(f.Fd()))
	}
	t.NoColor = env("NO_COLOR") != ""
	t.Style.On = t.Live && !t.NoColor
	return t
}

// With applies the color setting: "auto", "always" or "never".
func (t Terminal) With(color string) Terminal {
	switch color {
	case "always":
		t.Style.On = true
	case "never":
		t.Style.On = false
	}
	return t
}

// Size is the width and height of the terminal; 80 by 24 where it cannot be asked.
func (t Terminal) Size() (width, height int) {
	if t.fd >= 0 {
		if w, h, err := term.GetSize(t.fd); err == nil && w > 0 && h > 0 {
			return w, h
		}
	}
	return 80, 24
}

func (p Palette) paint(code, s string) string {
	if !p.On || s == "" {
		return s
	}
	return "\x1b[" + code + "m" + s + "\x1b[m"
}

// Bad is for what went wrong.
func (p Palette) Bad(s string) string { return p.paint("31", s) }

// Good is for what went well.
func (p Palette) Good(s string) string { return p.paint("32", s) }

// Warn is for what needs a look.
func (p Palette) Warn(s string) string { return p.paint("33", s) }

// Busy is for what is under way.
func (p Palette) Busy(s string) string { return p.paint("36", s) }

// Dim is for what matters less.
func (p Palette) Dim(s string) string { return p.paint("90", s) }

// Bold is for names and titles.
func (p Palette) Bold(s string) string { return p.paint("1", s) }

// Of gives a name a colour of its own, so that lines of several tasks that are
// mixed can be told apart. Red, green and yellow have a meaning and are left out.
func (p Palette) Of(name string) func(string) string {
	h := fnv.New32a()
	_, _ = h.Write([]byte(name))
	own := []string{"34", "35", "36", "94", "95", "96"}
	code := own[h.Sum32()%uint32(len(own))]
	return func(s string) string { return p.paint(code, s) }
}

// fit cuts a line to the width of the terminal, colours and wide characters considered.
func fit(s string, width int) string {
	if lipgloss.Width(s) <= width {
		return s
	}
	return lipgloss.NewStyle().MaxWidth(max(1, width-1)).Render(s) + "…"
}

// ShellWord is s as one word of a shell, for commands that are printed to be copied.
func ShellWord(s string) string {
	const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-@:+,"
	if s != "" && strings.Trim(s, plain) == "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// Plural is "1 task" or "2 tasks".
func Plural(n int, one string) string {
	if n == 1 {
		return "1 " + one
	}
	return strconv.Itoa(n) + " " + one + "s"
}
