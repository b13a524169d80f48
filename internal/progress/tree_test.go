package progress

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/machine"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// life makes transitions the way the machine does, for drawings.
type life struct {
	t   *tree
	now time.Time
}

func begin() *life {
	return &life{t: newTree(), now: time.Date(2026, 8, 1, 10, 0, 0, 0, time.UTC)}
}

func (l *life) after(d time.Duration) *life { l.now = l.now.Add(d); return l }

func (l *life) do(c machine.Change, a, parent, name, kind string, more func(*machine.Transition)) {
	tr := machine.Transition{Change: c, Activation: event.Activation(a), Parent: event.Activation(parent), Name: name, Kind: kind, Reference: "/do/" + name}
	switch c {
	case machine.Entered, machine.Dispatched:
		tr.Status = event.Running
	case machine.TaskEnds, machine.Skipped:
		tr.Status = event.Completed
	case machine.Retried, machine.Waits, machine.Resumes, machine.RunChanges, machine.Correlates:
	}
	if more != nil {
		more(&tr)
	}
	l.t.add(l.now, &tr)
}

func (l *life) enter(a, parent, name, kind string, iteration ...int) {
	l.do(machine.Entered, a, parent, name, kind, func(t *machine.Transition) { t.Iteration = iteration })
}

func (l *life) complete(a string) { l.do(machine.TaskEnds, a, "", "", "", nil) }

func (l *life) fault(a, title string) {
	l.do(machine.TaskEnds, a, "", "", "", func(t *machine.Transition) {
		t.Status, t.Error = event.Faulted, &event.Problem{Title: title, Status: 500}
	})
}

func golden(t *testing.T, name string, lines []string) {
	t.Helper()
	file := filepath.Join("testdata", name+".txt")
	got := strings.Join(lines, "\n") + "\n"
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), got); d != "" {
		t.Error(d)
	}
}

func fleet() *life {
	l := begin()
	l.enter("0", "", "prepare", "run shell")
	l.after(120 * time.Millisecond).complete("0")
	l.do(machine.Skipped, "1", "", "notify", "call http", nil)
	l.do(machine.Entered, "2", "", "check", "call map", func(t *machine.Transition) { t.Total = 120 })
	for i := range 40 {
		a := fmt.Sprintf("2.%d.0", i)
		l.enter(a, "2", "disk", "run shell", i)
		l.t.log(event.Activation(a), fmt.Sprintf("checking host %d", i))
		if i < 37 {
			l.after(10 * time.Millisecond)
			if i == 7 {
				l.fault(a, "Command failed")
			} else {
				l.complete(a)
			}
		}
	}
	l.enter("3", "", "ask", "try")
	l.enter("3.0", "3", "fetch", "call http")
	l.do(machine.Retried, "3", "", "", "", func(t *machine.Transition) {
		t.Attempt, t.Delay, t.Error = 2, 3_000_000, &event.Problem{Title: "Service Unavailable", Status: 503}
	})
	l.enter("4", "", "pause", "wait")
	l.do(machine.Waits, "4", "", "", "", nil)
	l.after(1200 * time.Millisecond)
	return l
}

func TestTreeOfALiveRun(t *testing.T) {
	l := fleet()
	golden(t, "fleet-live", l.t.draw(Palette{}, l.now, 0, 80, 24))
	golden(t, "fleet-small", l.t.draw(Palette{}, l.now, 0, 44, 6))
}

func TestTreeOfAnEndedRun(t *testing.T) {
	l := begin()
	l.enter("0", "", "race", "fork")
	l.enter("0.0", "0", "left", "call http")
	l.enter("0.1", "0", "right", "do")
	l.enter("0.1.0", "0.1", "deep\x1b[31mred", "set")
	l.complete("0.1.0")
	l.complete("0.1")
	l.do(machine.TaskEnds, "0.0", "", "", "", func(t *machine.Transition) { t.Status = event.Cancelled })
	l.complete("0")
	l.enter("1", "", "charge", "run script")
	l.t.log("1", "Traceback (most recent call last):")
	l.t.log("1", "ValueError: \x1b[1mno money\x1b[0m")
	l.fault("1", "Command failed")
	golden(t, "ended", l.t.draw(Palette{}, l.now, 0, 80, 0))
}

// The tree stays small however long a loop or a circle of jumps runs.
func TestTreeIsBounded(t *testing.T) {
	l := begin()
	l.do(machine.Entered, "0", "", "loop", "for", func(t *machine.Transition) { t.Total = 50_000 })
	for i := range 50_000 {
		a := fmt.Sprintf("0.%d.0", i)
		l.enter(a, "0", "step", "set", i)
		l.complete(a)
	}
	l.complete("0")
	for i := range 5_000 {
		a := fmt.Sprintf("1~%d", i)
		l.enter(a, "", "poll", "call http")
		l.complete(a)
	}
	if n := len(l.t.index); n > 2*maxPasses {
		t.Errorf("%d tasks are kept", n)
	}
	golden(t, "bounded", l.t.draw(Palette{}, l.now, 0, 80, 0))
	if len(l.t.index) > 10 {
		t.Errorf("%d tasks are kept after drawing", len(l.t.index))
	}
}

func TestRetriedTaskIsOneLine(t *testing.T) {
	l := begin()
	l.enter("0", "", "try", "try")
	for attempt := 1; attempt <= 3; attempt++ {
		l.do(machine.Entered, "0.0", "0", "fetch", "call http", func(t *machine.Transition) { t.Attempt = attempt })
		if attempt < 3 {
			l.after(time.Second).fault("0.0", "Bad Gateway")
		}
	}
	l.after(time.Second)
	golden(t, "retried", l.t.draw(Palette{}, l.now, 3, 80, 24))
	if l.t.failed != 0 {
		t.Errorf("%d failed", l.t.failed)
	}
}

func TestLinesFitTheTerminal(t *testing.T) {
	l := fleet()
	for width := 10; width < 120; width += 7 {
		for height := 3; height < 30; height += 5 {
			lines := l.t.draw(Palette{}, l.now, 0, width, height)
			if len(lines) > height {
				t.Errorf("%d lines at height %d", len(lines), height)
			}
			for _, line := range lines {
				if n := len([]rune(line)); n > width {
					t.Errorf("width %d: %q has %d", width, line, n)
				}
			}
		}
	}
}

// A loop of 5,000 in which all is under way, and one in which all is over, cost little to draw.
func BenchmarkDrawing5000(b *testing.B) {
	for _, over := range []bool{false, true} {
		b.Run(fmt.Sprintf("over=%v", over), func(b *testing.B) {
			for b.Loop() {
				l := begin()
				l.do(machine.Entered, "0", "", "each", "call map", func(t *machine.Transition) { t.Total = 5000 })
				for i := range 5000 {
					a := fmt.Sprintf("0.%d.0", i)
					l.enter(a, "0", "step", "run shell", i)
					if over {
						l.complete(a)
					}
				}
				l.t.draw(Palette{On: true}, l.now, 0, 100, 40)
			}
		})
	}
}

// BenchmarkFrame is one redraw while 5,000 tasks are under way.
func BenchmarkFrame(b *testing.B) {
	for _, kind := range []string{"call map", "fork", "do"} {
		b.Run(kind, func(b *testing.B) {
			l := begin()
			l.do(machine.Entered, "0", "", "each", kind, func(t *machine.Transition) { t.Total = 5000 })
			for i := range 5000 {
				l.enter(fmt.Sprintf("0.%d.0", i), "0", "step"+itoa(i), "run shell", i)
				if kind == "do" && i < 4999 {
					l.complete(fmt.Sprintf("0.%d.0", i))
				}
			}
			for b.Loop() {
				l.t.draw(Palette{On: true}, l.now, 0, 100, 40)
			}
		})
	}
}

// What failed first and what takes longest stand on top, with the slowest named.
func TestFailedAndSlowestStandOnTop(t *testing.T) {
	l := begin()
	l.do(machine.Entered, "0", "", "each", "call map", func(t *machine.Transition) { t.Total = 5000 })
	for i := range 2000 {
		a := fmt.Sprintf("0.%d.0", i)
		l.enter(a, "0", "check", "run shell", i)
		switch {
		case i%250 == 249:
			l.fault(a, "Unreachable")
		case i == 17 || i > 1970: // these take their time
		default:
			l.complete(a)
		}
		l.after(time.Millisecond)
	}
	l.after(3 * time.Second).complete("0.1980.0")
	golden(t, "failed-and-slowest", l.t.draw(Palette{}, l.now, 0, 120, 24))
	golden(t, "failed-and-slowest-small", l.t.draw(Palette{}, l.now, 0, 60, 10))
}

// Thousands of tasks that follow each other leave room for those that matter.
func TestLongSequenceIsCut(t *testing.T) {
	l := begin()
	for i := range 5000 {
		a := itoa(i)
		l.enter(a, "", "step-"+a, "run shell")
		if i == 12 {
			l.fault(a, "Command failed")
		} else if i < 4999 {
			l.complete(a)
		}
	}
	golden(t, "sequence", l.t.draw(Palette{}, l.now, 0, 80, 10))
}
