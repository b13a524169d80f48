package progress

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"charm.land/lipgloss/v2"

	"github.com/downbeat-dev/downbeat/internal/event"
)

// drawing turns a tree into lines of text that fit a terminal.
type drawing struct {
	p     Palette
	now   time.Time
	frame int // of the spinner
	level int // 0 shows all; each further level shows less
	left  int // width of the column of names
	width int // of the terminal
	most  int // rows, from which on this level shows too much
	rows  []row
}

// row is one line before its columns are aligned.
type row struct {
	left, right string // right: everything after the duration
	took        string
	log         bool
	bad         bool // stays when rows are cut
}

var spinner = []string{"⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"}

const levels = 4

// draw returns the lines of the tree: as much as fits width and height. A
// height of 0 means that any number of lines will do.
func (t *tree) draw(p Palette, now time.Time, frame, width, height int) []string {
	t.fold(&t.root)
	d := drawing{p: p, now: now, frame: frame, width: width}
	for d.level = range levels {
		d.rows, d.most = d.rows[:0], height
		if height <= 0 || d.level == levels-1 {
			d.most = math.MaxInt
		}
		d.sequence(t.root.children, 0)
		if height <= 0 || len(d.rows) <= height {
			break
		}
	}
	if height > 0 && len(d.rows) > height {
		d.cut(height)
	}
	return d.align(width)
}

// cut leaves the last rows that fit; what failed goes on top of them.
func (d *drawing) cut(height int) {
	var bad []row
	for _, r := range d.rows[:len(d.rows)-height+1] {
		if r.bad && len(bad) < height/3 {
			bad = append(bad, r)
		}
	}
	tail := d.rows[len(d.rows)-height+1+len(bad):]
	gone := len(d.rows) - len(tail) - len(bad)
	d.rows = append(append(bad, row{left: d.p.Dim(fmt.Sprintf("  … %d more above", gone))}), tail...)
}

// sequence draws tasks that follow each other; when room is short, those that are over are one line.
func (d *drawing) sequence(children []*node, depth int) {
	over := 0
	for _, c := range children {
		if d.level >= 3 && c.status == event.Completed {
			over++
		}
	}
	if over > 1 {
		d.rows = append(d.rows, row{left: strings.Repeat("  ", depth) + d.p.Good("✓") + " " + d.p.Dim(Plural(over, "task"))})
	}
	for _, c := range children {
		if over <= 1 || c.status != event.Completed {
			d.node(c, depth)
		}
	}
}

func (d *drawing) node(n *node, depth int) {
	if len(d.rows) > d.most {
		return // too much already: a level with less is drawn next
	}
	indent := strings.Repeat("  ", depth)
	d.rows = append(d.rows, row{
		left:  indent + d.icon(n) + " " + d.name(n),
		took:  d.took(n),
		right: d.detail(n),
		bad:   n.status == event.Faulted,
	})
	running := !n.status.Ended()
	if running && d.level < 2 || n.status == event.Faulted && len(n.children) == 0 && d.level < 1 {
		lines := n.lines
		if d.level == 1 && len(lines) > 1 {
			lines = lines[len(lines)-1:]
		}
		for _, l := range lines {
			d.rows = append(d.rows, row{left: indent + "  " + d.p.Dim("│ "+OneLine(l)), log: true})
		}
	}
	if !running && n.status != event.Faulted && d.level >= 1 {
		return
	}
	if d.level >= 3 && !running {
		return
	}
	d.children(n, depth)
}

// children draws what is under n; of many alike only some: those that failed
// first, then those that are under way for the longest time.
func (d *drawing) children(n *node, depth int) {
	if !n.folds() && n.kind != "fork" {
		d.sequence(n.children, depth+1)
		return
	}
	most := 12
	if d.level >= 1 {
		most = 4
	}
	shown := make([]*node, 0, len(n.children))
	for _, c := range n.children {
		if c.status.Ended() && c.status != event.Faulted && (n.folds() || d.level >= 2) {
			continue // only what failed is worth a line
		}
		shown = append(shown, c)
	}
	if n.folds() || len(shown) > most {
		slices.SortStableFunc(shown, func(a, b *node) int {
			if r := a.rank() - b.rank(); r != 0 {
				return r
			}
			return a.since().Compare(b.since())
		})
	}
	hidden := len(shown) - most
	if hidden > 0 { // half of the room is for what is under way
		failed := 0
		for failed < len(shown) && shown[failed].status == event.Faulted {
			failed++
		}
		live := shown[failed:]
		failed = min(failed, max(most/2, most-len(live)))
		shown = slices.Concat(shown[:failed], live[:most-failed])
	}
	for _, c := range shown {
		d.node(c, depth+1)
	}
	if hidden > 0 {
		d.rows = append(d.rows, row{left: strings.Repeat("  ", depth+1) + d.p.Dim(fmt.Sprintf("… %d more", hidden))})
	}
}

// rank puts what failed before what is under way, and that before what is over.
func (n *node) rank() int {
	switch {
	case n.status == event.Faulted:
		return 0
	case !n.status.Ended():
		return 1
	}
	return 2
}

// since is when the task, or the iteration that it is in, began.
func (n *node) since() time.Time {
	if p := n.parent.passes[n.iteration]; p != nil && n.iteration >= 0 {
		return p.begun
	}
	return n.started
}

func (d *drawing) icon(n *node) string {
	switch n.status {
	case event.Completed:
		if n.skipped {
			return d.p.Dim("○")
		}
		return d.p.Good("✓")
	case event.Faulted:
		return d.p.Bad("✗")
	case event.Cancelled:
		return d.p.Warn("⊘")
	case event.Suspended:
		return d.p.Warn("‖")
	case event.Waiting:
		return d.p.Busy("◷")
	case event.Pending, event.Running:
	}
	if !n.until.IsZero() {
		return d.p.Warn("↻")
	}
	return d.p.Busy(spinner[d.frame%len(spinner)])
}

func (d *drawing) name(n *node) string {
	s := n.label()
	switch {
	case n.status == event.Faulted:
		return d.p.Bad(s)
	case n.skipped:
		return d.p.Dim(s)
	case !n.status.Ended():
		return d.p.Bold(s)
	}
	return s
}

func (d *drawing) took(n *node) string {
	if n.skipped {
		return ""
	}
	end := n.ended
	if end.IsZero() {
		end = d.now
	}
	return Short(end.Sub(n.started))
}

func (d *drawing) detail(n *node) string {
	var parts []string
	add := func(s string) { parts = append(parts, s) }
	if n.folds() && (n.total > 0 || n.done > 0 || len(n.passes) > 0) {
		add(d.progress(n))
	} else if n.kind == "fork" && n.total > 0 && !n.status.Ended() {
		over := 0
		for _, c := range n.children {
			if c.status.Ended() {
				over++
			}
		}
		add(fmt.Sprintf("%d/%d", over, n.total))
	}
	if n.attempts > 1 {
		add(d.p.Warn("attempt " + itoa(n.attempts)))
	}
	switch {
	case n.skipped:
		add(d.p.Dim("skipped"))
	case !n.until.IsZero() && n.until.After(d.now):
		add(d.p.Warn("retry in " + Short(n.until.Sub(d.now)+99*time.Millisecond)))
		if n.err != nil {
			add(d.p.Dim(OneLine(n.err.Title)))
		}
	case n.status == event.Faulted && n.err != nil:
		add(d.p.Bad(OneLine(n.err.Title)))
	case n.status == event.Cancelled:
		add(d.p.Dim("cancelled"))
	case n.status == event.Suspended:
		add(d.p.Warn("suspended"))
	}
	if len(parts) == 0 || d.width >= narrow {
		parts = slices.Insert(parts, 0, d.p.Dim(n.kind))
	}
	return strings.Join(parts, d.p.Dim(" · "))
}

// narrow is the width under which the kind of a task gives way to what happens to it.
const narrow = 72

// bar is the progress of a loop, the failed part of it in front; "" where there is no room.
func (d *drawing) bar(over, broken, total int) string {
	cells := 0
	switch {
	case d.width >= 140:
		cells = 30
	case d.width >= 90:
		cells = 20
	case d.width >= narrow:
		cells = 10
	}
	if cells == 0 || total <= 0 {
		return ""
	}
	full := min(over, total) * cells / total
	bad := min(full, (broken*cells+total-1)/total) // one failure of many is seen
	return d.p.Bad(strings.Repeat("━", bad)) + d.p.Good(strings.Repeat("━", full-bad)) + d.p.Dim(strings.Repeat("╌", cells-full)) + " "
}

// progress is that of a loop: "━━╌╌╌╌ 37/120 · 10 active · 2 failed".
func (d *drawing) progress(n *node) string {
	active := 0
	for _, p := range n.passes {
		if p.live > 0 {
			active++
		}
	}
	over := n.done
	if n.status.Ended() {
		over += len(n.passes)
	}
	s := itoa(over)
	if n.total > 0 {
		s = itoa(min(over, n.total)) + "/" + itoa(n.total)
		if !n.status.Ended() {
			s = d.bar(over, n.broken, n.total) + s
		}
	}
	if active > 1 {
		s += " · " + itoa(active) + " active"
	}
	if n.broken > 0 {
		s += " · " + d.p.Bad(itoa(n.broken)+" failed")
	}
	if n.done > 1 && n.slow >= worthTelling {
		s += d.p.Dim(" · slowest [" + itoa(n.slowAt) + "] " + Short(n.slow))
	}
	return s
}

// worthTelling is from when on the slowest iteration of a loop is named.
const worthTelling = 100 * time.Millisecond

// align puts names, durations and details into columns and cuts lines to the width.
func (d *drawing) align(width int) []string {
	for _, r := range d.rows {
		if !r.log && r.took != "" {
			d.left = max(d.left, lipgloss.Width(r.left))
		}
	}
	d.left = min(d.left, max(16, width/2))
	lines := make([]string, len(d.rows))
	for i, r := range d.rows {
		if r.log || r.took == "" && r.right == "" {
			lines[i] = fit(r.left, width)
			continue
		}
		left := fit(r.left, d.left)
		pad := strings.Repeat(" ", max(0, d.left-lipgloss.Width(left)))
		lines[i] = fit(left+pad+d.p.Dim(fmt.Sprintf("  %6s  ", r.took))+r.right, width)
	}
	return lines
}

// Short is a duration for people: 3ms, 1.2s, 4m05s, 2h03m, 3d4h.
func Short(d time.Duration) string {
	switch {
	case d < 0:
		return "0ms"
	case d < time.Second:
		return strconv.FormatInt(d.Milliseconds(), 10) + "ms"
	case d < time.Minute:
		return strconv.FormatFloat(float64(d.Milliseconds()/100)/10, 'f', 1, 64) + "s"
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
	case d < 24*time.Hour:
		return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
	}
	return fmt.Sprintf("%dd%dh", int(d.Hours())/24, int(d.Hours())%24)
}

func itoa(n int) string { return strconv.Itoa(n) }

// OneLine makes any text safe to print on one line of a terminal: what a task
// prints, or a name in a definition, must not move the cursor.
func OneLine(s string) string {
	clean := true
	for _, r := range s {
		if moves(r) || r == unicode.ReplacementChar {
			clean = false
			break
		}
	}
	if clean {
		return s
	}
	return strings.Join(strings.Fields(strings.Map(func(r rune) rune {
		if moves(r) {
			return ' '
		}
		return r
	}, stripEscapes(s))), " ")
}

// moves reports that a character moves the cursor, or turns the text around it.
func moves(r rune) bool { return unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) }

// stripEscapes takes terminal escape sequences (colours of a program) out of a line.
func stripEscapes(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != 0x1b {
			b.WriteByte(s[i])
			continue
		}
		i++
		switch {
		case i < len(s) && s[i] == '[': // up to a final byte
			for i++; i < len(s) && (s[i] < 0x40 || s[i] > 0x7e); i++ {
			}
		case i < len(s) && s[i] == ']': // an operating system command, up to BEL or ESC \
			for i++; i < len(s) && s[i] != 0x07 && s[i] != 0x1b; i++ {
			}
			if i < len(s) && s[i] == 0x1b {
				i++
			}
		}
	}
	return b.String()
}
