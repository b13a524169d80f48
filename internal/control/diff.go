package control

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/rewind"
	"github.com/downbeat-dev/downbeat/internal/value"
)

// Change is one place where two values differ.
type Change struct {
	Pointer string `json:"pointer"` // JSON pointer; "" is the whole value
	A       any    `json:"a,omitempty"`
	B       any    `json:"b,omitempty"`
	OnlyIn  string `json:"onlyIn,omitempty"` // "a" or "b": the other has nothing there
}

// Parting is where two runs first differ.
type Parting struct {
	Reference string   `json:"reference"`
	Name      string   `json:"name"`
	Iteration []int    `json:"iteration,omitempty"`
	OnlyIn    string   `json:"onlyIn,omitempty"` // "a" or "b": the other never entered it
	StatusA   string   `json:"statusA,omitempty"`
	StatusB   string   `json:"statusB,omitempty"`
	ErrorA    string   `json:"errorA,omitempty"`
	ErrorB    string   `json:"errorB,omitempty"`
	Input     []Change `json:"input,omitempty"`
	Output    []Change `json:"output,omitempty"`
}

// Difference is how two runs differ.
type Difference struct {
	A           string   `json:"a"`
	B           string   `json:"b"`
	Same        bool     `json:"same"`
	Workflows   []string `json:"workflows,omitempty"` // of both, when they are not the same
	Definitions bool     `json:"definitionsDiffer,omitempty"`
	StatusA     string   `json:"statusA"`
	StatusB     string   `json:"statusB"`
	Input       []Change `json:"input,omitempty"`
	// Parted is the first task, in the order of A, that differs; nil: none does.
	Parted *Parting `json:"parted,omitempty"`
	// Alike are the tasks before it that are the same, Others those after it that differ.
	Alike  int      `json:"alike"`
	Others int      `json:"othersDiffer"`
	Output []Change `json:"output,omitempty"`
	ErrorA string   `json:"errorA,omitempty"`
	ErrorB string   `json:"errorB,omitempty"`
}

// Diff finds out where two runs parted, in path and data.
func (c *Control) Diff(ctx context.Context, a, b event.RunID) (*Difference, error) {
	pa, err := c.past(ctx, a)
	if err != nil {
		return nil, err
	}
	pb, err := c.past(ctx, b)
	if err != nil {
		return nil, err
	}
	ra, errA := pa.trace()
	rb, errB := pb.trace()
	if err := errors.Join(errA, errB); err != nil {
		return nil, err
	}
	d := &Difference{A: a.String(), B: b.String(), StatusA: pa.row.Status.String(), StatusB: pb.row.Status.String()}
	if pa.row.Workflow != pb.row.Workflow {
		d.Workflows = []string{pa.row.Workflow, pb.row.Workflow}
	}
	d.Definitions = pa.definition().Digest != pb.definition().Digest
	d.Input = changesOf(plain(pa.started.Input), plain(pb.started.Input))
	d.path(ra, rb)
	endA, endB := pa.end(), pb.end()
	if endA != nil && endB != nil {
		d.Output = changesOf(plain(endA.Output), plain(endB.Output))
		d.ErrorA, d.ErrorB = problemText(endA.Error), problemText(endB.Error)
		if d.ErrorA == d.ErrorB {
			d.ErrorA, d.ErrorB = "", ""
		}
	}
	d.Same = d.Parted == nil && len(d.Input) == 0 && len(d.Output) == 0 && d.StatusA == d.StatusB && d.ErrorA == d.ErrorB
	return d, nil
}

// end is how the run ended; nil when it has not.
func (p *past) end() *event.RunEnded {
	if !p.row.Status.Ended() {
		return nil
	}
	s := p.segments[len(p.segments)-1]
	for _, e := range slices.Backward(s.Events) {
		if b, ok := e.Body.(*event.RunEnded); ok {
			return b
		}
	}
	return nil
}

// path compares the tasks. Tasks of parallel branches may come in any order, so
// they are matched by activation.
func (d *Difference) path(a, b []rewind.Record) {
	at := make(map[event.Activation]*rewind.Record, len(b))
	for i := range b {
		at[b[i].Activation] = &b[i]
	}
	note := func(p *Parting) {
		switch {
		case p == nil && d.Parted == nil:
			d.Alike++
		case p == nil:
		case d.Parted == nil:
			d.Parted = p
		default:
			d.Others++
		}
	}
	for i := range a {
		other := at[a[i].Activation]
		delete(at, a[i].Activation)
		note(compare(&a[i], other, "a"))
	}
	for i := range b {
		if at[b[i].Activation] != nil {
			note(compare(&b[i], nil, "b"))
		}
	}
}

// composite tasks end as what is in them does: their parts tell more.
func composite(kind string) bool {
	return slices.Contains([]string{"do", "for", "fork", "try", "call map"}, kind)
}

func compare(a, b *rewind.Record, side string) *Parting {
	p := &Parting{Reference: a.Reference, Name: a.Name, Iteration: a.Iteration}
	if b == nil || a.Reference != b.Reference {
		p.OnlyIn = side
		return p
	}
	if !a.Kept && !b.Kept {
		p.Input = changesOf(a.Input, b.Input)
		if a.Status == event.Completed && b.Status == event.Completed && !composite(a.Kind) {
			p.Output = changesOf(a.Output, b.Output)
		}
	}
	if (a.Status != b.Status || a.Skipped != b.Skipped) && !composite(a.Kind) {
		p.StatusA, p.StatusB = statusText(a), statusText(b)
		p.ErrorA, p.ErrorB = problemText(a.Error), problemText(b.Error)
	}
	if p.StatusA == "" && len(p.Input) == 0 && len(p.Output) == 0 {
		return nil
	}
	return p
}

func statusText(r *rewind.Record) string {
	if r.Skipped {
		return "skipped"
	}
	return r.Status.String()
}

func problemText(p *event.Problem) string {
	if p == nil {
		return ""
	}
	return p.Error()
}

func plain(raw value.Raw) any {
	if raw.IsZero() {
		return nil
	}
	v, err := raw.Any()
	if err != nil {
		return "not JSON: " + err.Error()
	}
	return v
}

// maxChanges bounds how many places are listed.
const maxChanges = 100

// changesOf lists where two values differ, in order.
func changesOf(a, b any) []Change {
	var out []Change
	differ(&out, "", a, b)
	return out
}

func differ(out *[]Change, at string, a, b any) {
	if len(*out) >= maxChanges {
		return
	}
	switch x := a.(type) {
	case map[string]any:
		if y, ok := b.(map[string]any); ok {
			keys := slices.AppendSeq(slices.Collect(maps.Keys(x)), maps.Keys(y))
			slices.Sort(keys)
			for _, k := range slices.Compact(keys) {
				vx, inX := x[k]
				vy, inY := y[k]
				pair(out, at+"/"+escape(k), vx, vy, inX, inY)
			}
			return
		}
	case []any:
		if y, ok := b.([]any); ok {
			for i := range max(len(x), len(y)) {
				var vx, vy any
				if i < len(x) {
					vx = x[i]
				}
				if i < len(y) {
					vy = y[i]
				}
				pair(out, at+"/"+strconv.Itoa(i), vx, vy, i < len(x), i < len(y))
			}
			return
		}
	}
	if !value.Equal(a, b) {
		*out = append(*out, Change{Pointer: at, A: a, B: b})
	}
}

func pair(out *[]Change, at string, a, b any, inA, inB bool) {
	switch {
	case inA && inB:
		differ(out, at, a, b)
	case len(*out) >= maxChanges:
	case inA:
		*out = append(*out, Change{Pointer: at, A: a, OnlyIn: "a"})
	default:
		*out = append(*out, Change{Pointer: at, B: b, OnlyIn: "b"})
	}
}

var pointerEscapes = strings.NewReplacer("~", "~0", "/", "~1")

func escape(key string) string { return pointerEscapes.Replace(key) }
