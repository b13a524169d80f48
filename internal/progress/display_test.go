package progress

import (
	"bytes"
	"log/slog"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/machine"
	"github.com/downbeat-dev/downbeat/internal/view"
)

var clock = regexp.MustCompile(`(?m)^\d\d:\d\d:\d\d\.\d\d\d `)

func TestPlainLines(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	at := time.Date(2026, 8, 1, 10, 0, 0, 0, time.UTC)
	l := NewLines(&out, Palette{}, "ops/x:1.0.0  id", at)
	step := func(d time.Duration, tr machine.Transition) {
		at = at.Add(d)
		l.Add(at, &tr)
	}
	step(0, machine.Transition{Change: machine.Entered, Activation: "0", Name: "fetch", Iteration: []int{2}})
	l.Log(at, "0", "half way\r\n")
	step(time.Second, machine.Transition{Change: machine.Retried, Activation: "0", Name: "fetch", Iteration: []int{2}, Delay: 2_000_000, Error: &event.Problem{Title: "Busy", Detail: "try\nlater"}})
	step(2*time.Second, machine.Transition{Change: machine.TaskEnds, Activation: "0", Name: "fetch", Iteration: []int{2}, Status: event.Completed, Attempt: 2})
	step(0, machine.Transition{Change: machine.Skipped, Activation: "1", Name: "extra"})
	step(0, machine.Transition{Change: machine.Entered, Activation: "2", Name: "pause"})
	step(0, machine.Transition{Change: machine.Waits, Activation: "2", Name: "pause"})
	step(90*time.Second, machine.Transition{Change: machine.TaskEnds, Activation: "2", Name: "pause", Status: event.Cancelled, Unknown: true})
	step(0, machine.Transition{Change: machine.RunChanges, Status: event.Cancelled})
	l.Note("a note")
	want := `run ops/x:1.0.0  id
fetch[2] | half way
fetch[2] retries in 2.0s: Busy: try later
fetch[2] completed 3.0s (attempt 2)
extra skipped
pause waiting
pause cancelled 1m30s (whether it took effect is not known)
run cancelled 1m33s
a note
`
	if d := cmp.Diff(want, clock.ReplaceAllString(out.String(), "")); d != "" {
		t.Error(d)
	}
}

// Tasks of two branches that have the same name are told apart, also by colour.
func TestPlainLinesNameTheBranch(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	at := time.Date(2026, 8, 1, 10, 0, 0, 0, time.UTC)
	l := NewLines(&out, Palette{On: true}, "ops/x:1.0.0  id", at)
	enter := func(a, parent, name, kind string) {
		l.Add(at, &machine.Transition{Change: machine.Entered, Activation: event.Activation(a), Parent: event.Activation(parent), Name: name, Kind: kind})
	}
	enter("0", "", "both", "fork")
	for i, branch := range []string{"berlin", "madrid"} {
		a := "0." + itoa(i)
		enter(a, "0", branch, "do")
		enter(a+".0", a, "build", "run shell")
		l.Log(at, event.Activation(a+".0"), "compiling")
		l.Add(at, &machine.Transition{Change: machine.TaskEnds, Activation: event.Activation(a + ".0"), Parent: event.Activation(a), Name: "build", Status: event.Completed})
	}
	text := out.String()
	for _, want := range []string{"berlin/build |", "madrid/build |", "berlin/build \x1b[32mcompleted"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in %q", want, text)
		}
	}
	colour := regexp.MustCompile(`\x1b\[(\d+)m(?:berlin|madrid)/build \|`).FindAllStringSubmatch(text, -1)
	if len(colour) != 2 || colour[0][1] == colour[1][1] {
		t.Errorf("colours %v", colour)
	}
}

// What stands on the screen after each frame is exactly the frame: nothing of
// an earlier one is left, however the number and width of lines change.
func TestScreenLeavesNothingBehind(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var out bytes.Buffer
		s := NewScreen(&out, Terminal{fd: -1}, "title", time.Time{})
		term := newEmulator(80)
		for range rapid.IntRange(1, 8).Draw(t, "frames") {
			lines := rapid.SliceOfN(rapid.StringMatching(`[a-z ]{0,79}`), 0, 12).Draw(t, "lines")
			out.Reset()
			s.paint(lines, 80, 24)
			term.feed(out.String())
			var want []string
			for _, l := range lines {
				want = append(want, strings.TrimRight(l, " "))
			}
			got := term.lines()
			for len(want) > 0 && want[len(want)-1] == "" {
				want = want[:len(want)-1]
			}
			if d := cmp.Diff(strings.Join(want, "\n"), strings.Join(got, "\n")); d != "" {
				t.Fatal(d)
			}
		}
	})
}

// emulator understands the few sequences that Screen uses.
type emulator struct {
	width, x, y int
	rows        [][]rune
}

func newEmulator(width int) *emulator { return &emulator{width: width} }

var sequence = regexp.MustCompile(`^\x1b\[(\??\d*)([A-Za-z])`)

func (e *emulator) feed(s string) {
	for s != "" {
		for len(e.rows) <= e.y {
			e.rows = append(e.rows, nil)
		}
		if m := sequence.FindStringSubmatch(s); m != nil {
			s = s[len(m[0]):]
			switch m[2] {
			case "A":
				n := 0
				for _, c := range m[1] {
					n = n*10 + int(c-'0')
				}
				e.y -= n
			case "K":
				e.rows[e.y] = e.rows[e.y][:min(e.x, len(e.rows[e.y]))]
			case "J":
				e.rows = e.rows[:e.y]
			}
			continue
		}
		c := rune(s[0])
		s = s[1:]
		switch c {
		case '\r':
			e.x = 0
		case '\n':
			e.y++
		default:
			for len(e.rows[e.y]) <= e.x {
				e.rows[e.y] = append(e.rows[e.y], ' ')
			}
			e.rows[e.y][e.x] = c
			e.x++
		}
	}
}

func (e *emulator) lines() []string {
	var out []string
	for _, r := range e.rows {
		out = append(out, strings.TrimRight(string(r), " "))
	}
	for len(out) > 0 && out[len(out)-1] == "" {
		out = out[:len(out)-1]
	}
	return out
}

// A run that is looked at from time to time shows what one that is followed shows.
func TestCatchUpShowsWhatFollowingShows(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := view.New()
		direct, looked := newTree(), &Screen{tree: newTree()}
		now := time.Date(2026, 8, 1, 10, 0, 0, 0, time.UTC)
		var last *view.Run
		open := map[string]bool{}
		for i := range rapid.IntRange(1, 30).Draw(t, "steps") {
			now = now.Add(time.Second)
			name := rapid.SampledFrom([]string{"a", "b", "c", "d"}).Draw(t, "name")
			tr := machine.Transition{Activation: event.Activation(name), Name: name, Kind: "set", Reference: "/do/" + name}
			switch {
			case !open[name]:
				tr.Change, tr.Status, open[name] = machine.Entered, event.Running, true
				if direct.index[tr.Activation] != nil {
					continue // an activation is entered once
				}
			case rapid.Bool().Draw(t, "ends"):
				if direct.index[tr.Activation].status.Ended() {
					continue
				}
				tr.Change, tr.Status = machine.TaskEnds, event.Status(rapid.IntRange(int(event.Cancelled), int(event.Completed)).Draw(t, "status"))
			default:
				if direct.index[tr.Activation].status.Ended() {
					continue
				}
				tr.Change, tr.Status = machine.Waits, event.Waiting
			}
			b.Add(now, &tr)
			direct.add(now, &tr)
			if i%3 == 0 {
				r := &view.Run{Status: event.Running, StartedAt: now, Tasks: b.Tasks()}
				CatchUp(looked, last, r)
				last = r
			}
		}
		CatchUp(looked, last, &view.Run{Status: event.Running, StartedAt: now, Tasks: b.Tasks()})
		want := strings.Join(direct.draw(Palette{}, now, 0, 80, 0), "\n")
		if d := cmp.Diff(want, strings.Join(looked.tree.draw(Palette{}, now, 0, 80, 0), "\n")); d != "" {
			t.Fatal(d)
		}
	})
}

func TestPrintedTextCannotMoveTheCursor(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"plain ü 漢":                    "plain ü 漢",
		"\x1b[31mred\x1b[0m":           "red",
		"a\rb\tc\x07":                  "a b c",
		"\x1b]0;title\x07x":            "x",
		"two\nlines":                   "two lines",
		string([]byte{'a', 0x9b, 'b'}): "a\ufffdb",
	} {
		if got := OneLine(in); got != want && got != strings.ToValidUTF8(in, "") {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}

func TestNotesWaitForTheFrame(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	n := &Notes{W: &out}
	n.Logger().With(slog.String("run", "7")).Warn("slow disk", slog.Int("ms", 90))
	n.Logger().Info("nobody cares")
	n.Hold(true)
	n.Warn("later\nthan that")
	if got := out.String(); got != "warning: slow disk; run: 7; ms: 90\n" {
		t.Errorf("got %q", got)
	}
	if d := cmp.Diff([]string{"warning: later than that"}, n.Take()); d != "" {
		t.Error(d)
	}
}
