package machine

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
	m         *Machine
	sequences map[*sequence]int
	frames    map[*frame]int
	bindings  map[*binding]int
	cells     map[*cell]int
}

// Snapshot is the whole state of the run: Restore makes the same machine of it.
func (m *Machine) Snapshot() []byte {
	p := &picture{
		m: m, writer: writer{known: map[container]int{}}, sequences: map[*sequence]int{},
		frames: map[*frame]int{}, bindings: map[*binding]int{}, cells: map[*cell]int{},
	}
	p.uint(snapshotForm)
	p.uint(Revision)
	p.uint(m.hash)
	p.bool(m.begun != nil)
	if m.begun == nil {
		return p.b
	}
	p.string(string(event.Append(nil, []event.Event{{At: m.startedAt, Body: m.begun}}, nil)))
	p.scalars()
	p.cell(m.ctx)
	p.bool(m.root != nil)
	if m.root != nil {
		p.sequence(m.root)
	}
	p.outside()
	return p.b
}

func (p *picture) scalars() {
	m := p.m
	p.b = append(p.b, m.run[:]...)
	p.time(m.now)
	p.time(m.startedAt)
	p.value(m.rawInput)
	p.value(m.input)
	p.uint(uint64(m.status))
	for _, v := range []bool{m.suspended, m.more, m.sliced, m.wantsSecrets, m.secretsWaiting, m.secrets != nil} {
		p.bool(v)
	}
	for _, n := range []int{m.slices, m.idle, m.tasks, m.epoch, m.live} {
		p.int(n)
	}
	p.uint(m.order)
	p.ending(&m.result)
	p.bool(m.ending != nil)
	if m.ending != nil {
		p.ending(m.ending)
	}
	if m.secrets != nil {
		p.value(m.secrets)
	}
	p.uint(uint64(len(m.missing)))
	for _, s := range m.missing {
		p.string(s)
	}
	p.uint(m.eval0.ordinal)
	p.uint(uint64(len(m.eval0.stopped)))
	for _, n := range m.eval0.stopped {
		p.uint(n)
	}
	p.uint(uint64(len(m.consumed)))
	for _, n := range m.consumed {
		p.int(int(n))
	}
}

func (p *picture) ending(e *ending) {
	p.uint(uint64(e.status))
	p.value(e.output)
	p.problem(e.problem)
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

func (p *picture) cell(c *cell) {
	if n, ok := p.cells[c]; ok {
		p.uint(uint64(n) + 1)
		return
	}
	p.cells[c] = len(p.cells)
	p.uint(0)
	p.value(c.value)
}

// binding writes a chain of variables, the shared end of it once.
func (p *picture) binding(b *binding) {
	var fresh []*binding
	for ; b != nil; b = b.next {
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
		p.string(x.name)
		p.value(x.value)
	}
}

func (p *picture) sequence(s *sequence) {
	p.sequences[s] = len(p.sequences)
	p.uint(uint64(s.role))
	p.int(s.slot)
	p.string(s.prefix)
	p.binding(s.vars)
	p.cell(s.ctx)
	p.ints(s.iter)
	p.int(s.epoch)
	p.int(s.depth)
	p.int(s.calls)
	p.bool(s.inside)
	p.bool(s.fixed)
	p.bool(s.dead)
	p.ints(s.visits)
	if s.extended == nil {
		p.uint(0)
	} else {
		p.uint(uint64(p.frames[s.extended]) + 1)
	}
	p.bool(s.current != nil)
	if s.current != nil {
		p.frame(s.current)
	}
}

func (p *picture) frame(f *frame) {
	p.frames[f] = len(p.frames)
	p.string(f.node.Reference)
	p.uint(uint64(f.node.Op))
	p.string(string(f.id))
	p.value(f.raw)
	p.value(f.input)
	p.value(f.out)
	p.value(f.args)
	p.binding(f.vars)
	p.time(f.started)
	p.int(f.attempt)
	p.uint(uint64(f.phase))
	for _, v := range []bool{f.shown, f.hasOut, f.waits, f.outstanding, f.answered, f.told, f.unknown, f.flow != nil, f.auth != nil} {
		p.bool(v)
	}
	p.uint(f.order)
	p.int(f.extAt)
	p.bools(f.applied)
	if f.flow != nil {
		p.uint(uint64(f.flow.Kind))
		p.int(f.flow.Target)
	}
	if f.auth != nil {
		p.string(f.auth.Scheme)
		p.string(f.auth.Parameter)
	}
	p.uint(uint64(f.stop))
	p.problem(f.problem)
	p.string(f.reason)
	p.loop(f.loop)
	p.fan(f.fan)
	p.try(f.try)
	p.listen(f.listen)
	p.uint(uint64(len(f.seqs)))
	p.uint(uint64(f.live))
	for _, s := range f.seqs {
		if s != nil {
			p.sequence(s)
		}
	}
}

func (p *picture) loop(l *loopState) {
	p.bool(l != nil)
	if l != nil {
		p.value(l.items)
		p.int(l.next)
	}
}

func (p *picture) fan(st *fanState) {
	p.bool(st != nil)
	if st != nil {
		p.value(st.items)
		p.values(st.results)
		p.int(st.next)
		p.int(st.ended)
		p.problem(st.first)
		p.int(st.bytes)
	}
}

func (p *picture) try(st *tryState) {
	p.bool(st != nil)
	if st != nil {
		p.int(st.epoch)
		p.int(st.high)
		p.int(st.retries)
		p.time(st.deadline)
		p.bool(st.exhausted)
	}
}

func (p *picture) listen(st *listenState) {
	p.bool(st != nil)
	if st == nil {
		return
	}
	p.bools(st.met)
	p.bools(st.untilMet)
	p.bool(st.keys != nil)
	if st.keys != nil {
		p.value(st.keys)
	}
	p.values(st.read)
	p.values(st.results)
	p.values(st.queue)
	p.int(st.index)
	p.bool(st.handling)
	p.bool(st.closed)
	p.bool(st.listed)
	p.uint(st.order)
	p.int(st.bytes)
}

// outside writes what refers to sequences and frames: timers, work, background attempts, kept events.
func (p *picture) outside() {
	m := p.m
	timers := make([]*timer, 0, len(m.timers.byID))
	for _, t := range m.timers.byID {
		timers = append(timers, t)
	}
	slices.SortFunc(timers, func(a, b *timer) int { return cmp.Compare(a.order, b.order) })
	p.uint(uint64(len(timers)))
	for _, t := range timers {
		p.string(t.id)
		p.uint(uint64(t.what))
		p.time(t.at)
		p.uint(t.order)
		p.bool(t.fired)
		if t.frame == nil {
			p.uint(0)
		} else {
			p.uint(uint64(p.frames[t.frame]) + 1)
		}
	}
	var live []action
	for _, a := range m.work[m.head:] {
		if _, ok := p.sequences[a.seq]; ok && !a.seq.dead {
			live = append(live, a)
		}
	}
	p.uint(uint64(len(live)))
	for _, a := range live {
		p.uint(uint64(p.sequences[a.seq]))
		p.int(a.index)
		p.value(a.value)
	}
	p.uint(uint64(len(m.background)))
	for _, b := range m.background {
		p.string(string(b.activation))
		p.int(b.attempt)
		p.uint(b.order)
		p.string(b.dispatch.Reference)
		p.value(b.dispatch.Arguments)
		p.ints(b.dispatch.Iteration)
	}
	p.uint(uint64(len(m.deferred)))
	if len(m.deferred) > 0 {
		p.string(string(event.Append(nil, m.deferred, nil)))
	}
}
