package state

import (
	"cmp"
	"slices"

	"github.com/downbeat-dev/downbeat/internal/event"
)

// snapshotForm is the form of snapshots that this release writes; it reads no
// other, because a snapshot can always be made again from the journal. States
// inside RunReopened and RunForked are the exception: a new form must keep
// reading this one.
const snapshotForm = 1

// picture numbers what a snapshot refers to.
type picture struct {
	writer
	r         *Run
	sequences map[*Sequence]int
	frames    map[*Frame]int
	bindings  map[*Binding]int
	cells     map[*Cell]int
}

// Snapshot writes the whole state of the run: Restore makes the same of it.
func (r *Run) Snapshot(revision uint64) []byte {
	p := &picture{
		r: r, writer: writer{known: map[container]int{}}, sequences: map[*Sequence]int{},
		frames: map[*Frame]int{}, bindings: map[*Binding]int{}, cells: map[*Cell]int{},
	}
	p.uint(snapshotForm)
	p.uint(revision)
	p.uint(r.Hash)
	p.bool(r.Begun != nil)
	if r.Begun == nil {
		return p.b
	}
	p.string(string(event.Append(nil, []event.Event{{At: r.StartedAt, Body: r.Begun}}, nil)))
	p.scalars()
	p.cell(r.Context)
	p.bool(r.Root != nil)
	if r.Root != nil {
		p.sequence(r.Root)
	}
	p.outside()
	return p.b
}

func (p *picture) scalars() {
	m := p.r
	p.b = append(p.b, m.ID[:]...)
	p.time(m.Now)
	p.time(m.StartedAt)
	p.value(m.RawInput)
	p.value(m.Input)
	p.uint(uint64(m.Status))
	for _, v := range []bool{m.Suspended, m.More, m.Interrupted, m.WantsSecrets, m.SecretsAnswered, m.Secrets != nil} {
		p.bool(v)
	}
	for _, n := range []int{m.Continued, m.Idle, m.Tasks, m.Epoch, m.Live} {
		p.int(n)
	}
	p.uint(m.Order)
	p.ending(&m.Outcome)
	p.bool(m.Ending != nil)
	if m.Ending != nil {
		p.ending(m.Ending)
	}
	if m.Secrets != nil {
		p.value(m.Secrets)
	}
	p.uint(m.Ordinal)
	p.uint(uint64(len(m.Stopped)))
	for _, n := range m.Stopped {
		p.uint(n)
	}
	p.uint(uint64(len(m.Consumed)))
	for _, n := range m.Consumed {
		p.int(int(n))
	}
}

func (p *picture) ending(e *Ending) {
	p.uint(uint64(e.Status))
	p.value(e.Output)
	p.problem(e.Problem)
}

func (p *picture) problem(x *event.Problem) {
	p.bool(x != nil)
	if x == nil {
		return
	}
	p.string(x.Type)
	p.int(x.Status)
	p.string(x.Title)
	p.string(x.Detail)
	p.string(x.Instance)
	p.bool(x.More != nil)
	if x.More != nil {
		p.value(x.More)
	}
}

func (p *picture) cell(c *Cell) {
	if n, ok := p.cells[c]; ok {
		p.uint(uint64(n) + 1)
		return
	}
	p.cells[c] = len(p.cells)
	p.uint(0)
	p.value(c.Value)
}

// binding writes a chain of variables, the shared end of it once.
func (p *picture) binding(b *Binding) {
	var fresh []*Binding
	for ; b != nil; b = b.Next {
		if _, ok := p.bindings[b]; ok {
			break
		}
		fresh = append(fresh, b)
	}
	p.uint(uint64(len(fresh)))
	if b == nil {
		p.uint(0)
	} else {
		p.uint(uint64(p.bindings[b]) + 1)
	}
	for _, x := range slices.Backward(fresh) {
		p.bindings[x] = len(p.bindings)
		p.string(x.Name)
		p.value(x.Value)
	}
}

func (p *picture) sequence(s *Sequence) {
	p.sequences[s] = len(p.sequences)
	p.uint(uint64(s.Role))
	p.int(s.Slot)
	p.string(s.Prefix)
	p.binding(s.Vars)
	p.cell(s.Ctx)
	p.ints(s.Iter)
	p.int(s.Epoch)
	p.int(s.Depth)
	p.int(s.Calls)
	p.bool(s.Inside)
	p.bool(s.Fixed)
	p.bool(s.Dead)
	p.ints(s.Visits)
	if s.Extended == nil {
		p.uint(0)
	} else {
		p.uint(uint64(p.frames[s.Extended]) + 1)
	}
	p.bool(s.Current != nil)
	if s.Current != nil {
		p.frame(s.Current)
	}
}

func (p *picture) frame(f *Frame) {
	p.frames[f] = len(p.frames)
	p.string(f.Node.Reference)
	p.uint(uint64(f.Node.Op))
	p.string(string(f.ID))
	p.value(f.Raw)
	p.value(f.Input)
	p.value(f.Out)
	p.value(f.Args)
	p.binding(f.Vars)
	p.time(f.Started)
	p.int(f.Attempt)
	p.uint(uint64(f.Phase))
	for _, v := range []bool{f.Shown, f.HasOut, f.Waits, f.Outstanding, f.Answered, f.Told, f.Unknown, f.Flow != nil, f.Auth != nil} {
		p.bool(v)
	}
	p.uint(f.Order)
	p.int(f.ExtAt)
	p.bools(f.Applied)
	if f.Flow != nil {
		p.uint(uint64(f.Flow.Kind))
		p.int(f.Flow.Target)
	}
	if f.Auth != nil {
		p.string(f.Auth.Scheme)
		p.string(f.Auth.Parameter)
	}
	p.uint(uint64(f.Stop))
	p.problem(f.Problem)
	p.string(f.Reason)
	p.loop(f.Loop)
	p.fan(f.Fan)
	p.try(f.Try)
	p.listen(f.Listen)
	p.uint(uint64(len(f.Seqs)))
	p.uint(uint64(f.Live))
	for _, s := range f.Seqs {
		if s != nil {
			p.sequence(s)
		}
	}
}

func (p *picture) loop(l *Loop) {
	p.bool(l != nil)
	if l != nil {
		p.value(l.Items)
		p.int(l.Next)
	}
}

func (p *picture) fan(st *Fan) {
	p.bool(st != nil)
	if st != nil {
		p.value(st.Items)
		p.values(st.Results)
		p.int(st.Next)
		p.int(st.Ended)
		p.problem(st.First)
		p.int(st.Bytes)
	}
}

func (p *picture) try(st *Try) {
	p.bool(st != nil)
	if st != nil {
		p.int(st.Epoch)
		p.int(st.High)
		p.int(st.Retries)
		p.time(st.Deadline)
		p.bool(st.Exhausted)
	}
}

func (p *picture) listen(st *Listen) {
	p.bool(st != nil)
	if st == nil {
		return
	}
	p.bools(st.Met)
	p.bools(st.UntilMet)
	p.bool(st.Keys != nil)
	if st.Keys != nil {
		p.value(st.Keys)
	}
	p.values(st.Read)
	p.values(st.Results)
	p.values(st.Queue)
	p.int(st.Index)
	p.bool(st.Handling)
	p.bool(st.Closed)
	p.bool(st.Listed)
	p.uint(st.Order)
	p.int(st.Bytes)
}

// outside writes what refers to sequences and frames: timers, work, background attempts, kept events.
func (p *picture) outside() {
	m := p.r
	timers := make([]*Timer, 0, len(m.Timers.byID))
	for _, t := range m.Timers.byID {
		timers = append(timers, t)
	}
	slices.SortFunc(timers, func(a, b *Timer) int { return cmp.Compare(a.Order, b.Order) })
	p.uint(uint64(len(timers)))
	for _, t := range timers {
		p.string(t.ID)
		p.uint(uint64(t.What))
		p.time(t.At)
		p.uint(t.Order)
		p.bool(t.Fired)
		if t.Frame == nil {
			p.uint(0)
		} else {
			p.uint(uint64(p.frames[t.Frame]) + 1)
		}
	}
	var live []Action
	for _, a := range m.Work[m.Head:] {
		if _, ok := p.sequences[a.Seq]; ok && !a.Seq.Dead {
			live = append(live, a)
		}
	}
	p.uint(uint64(len(live)))
	for _, a := range live {
		p.uint(uint64(p.sequences[a.Seq]))
		p.int(a.Index)
		p.value(a.Value)
	}
	p.uint(uint64(len(m.Background)))
	for _, b := range m.Background {
		p.string(string(b.Activation))
		p.int(b.Attempt)
		p.uint(b.Order)
		p.string(b.Node.Reference)
		p.value(b.Arguments)
		p.ints(b.Iteration)
	}
	p.uint(uint64(len(m.Deferred)))
	if len(m.Deferred) > 0 {
		p.string(string(event.Append(nil, m.Deferred, nil)))
	}
}
