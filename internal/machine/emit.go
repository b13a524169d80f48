package machine

import (
	"crypto/sha256"
	"encoding/hex"
	"math/bits"
	"slices"
	"strconv"
	"time"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/value"
)

// mix is one round of the rolling hash (M1, M6): a 128-bit product, folded.
func mix(h, x uint64) uint64 {
	hi, lo := bits.Mul64(h^0xa0761d6478bd642f, x^0xe7037ed1a0b428db)
	return hi ^ lo ^ h<<1
}

func mixString[S ~string](h uint64, s S) uint64 {
	h = mix(h, uint64(len(s)))
	for len(s) >= 8 {
		h = mix(h, uint64(s[0])|uint64(s[1])<<8|uint64(s[2])<<16|uint64(s[3])<<24|uint64(s[4])<<32|uint64(s[5])<<40|uint64(s[6])<<48|uint64(s[7])<<56)
		s = s[8:]
	}
	if len(s) > 0 {
		x := uint64(len(s))
		for i := range len(s) {
			x = x<<8 | uint64(s[i])
		}
		h = mix(h, x)
	}
	return h
}

func mixBytes(h uint64, b []byte) uint64 { return mixString(h, string(b)) }

func mixRaw(h uint64, r *value.Raw) uint64 {
	if r.IsZero() {
		return mix(h, 0)
	}
	v, err := r.Any()
	if err != nil {
		return mixString(h, err.Error())
	}
	return value.Hash(h, v)
}

func mixTime(h uint64, t time.Time) uint64 { return mix(h, uint64(t.UnixMicro())) }

func mixProblem(h uint64, p *event.Problem) uint64 {
	if p == nil {
		return mix(h, 0)
	}
	h = mix(h, uint64(p.Status))
	h = mixString(h, p.Type)
	h = mixString(h, p.Instance)
	return mixString(h, p.Detail)
}

// transition reports what happened to f.
func (m *Machine) transition(f *frame, t Transition) {
	s := f.seq
	t.Activation = f.id
	if s.owner != nil {
		t.Parent = s.owner.id
	}
	t.Reference, t.Name, t.Kind, t.Iteration = f.node.Reference, f.node.Name, f.node.Label, s.iter
	t.Attempt = f.attempt
	m.runTransition(t)
}

func (m *Machine) runTransition(t Transition) {
	h := mix(m.hash, uint64(t.Change)<<8|uint64(t.Status))
	h = mixString(h, t.Activation)
	h = mix(h, uint64(t.Attempt))
	if t.Error != nil {
		h = mixProblem(h, t.Error)
	}
	m.hash = mixRaw(h, &t.Output)
	m.step.Transitions = append(m.step.Transitions, t)
}

// entered reports that f begins.
func (m *Machine) entered(f *frame, total int) {
	if f.shown {
		return
	}
	f.shown = true
	status := event.Running
	if f.phase == sleeping || f.phase == listening {
		status = event.Waiting
	}
	m.transition(f, Transition{Change: Entered, Status: status, Total: total})
}

// command adds c to the step.
func (m *Machine) command(c Command) {
	m.hash = m.hashCommand(m.hash, c)
	m.step.Commands = append(m.step.Commands, c)
}

func (m *Machine) hashCommand(h uint64, c Command) uint64 {
	switch c := c.(type) {
	case *Dispatch:
		h = mixString(mix(h, 1), c.Activation)
		h = mixString(mix(h, uint64(c.Attempt)), c.Kind)
		return value.Hash(h, c.Arguments)
	case *CancelAttempt:
		h = mixString(mix(h, 2), c.Activation)
		return mixString(mix(h, uint64(c.Attempt)), c.Reason)
	case *StartTimer:
		return mixTime(mixString(mix(h, 3), c.ID), c.At)
	case *StopTimer:
		return mixString(mix(h, 4), c.ID)
	case *Listen:
		return mixString(mix(h, 5), c.Activation)
	case *Unlisten:
		return mixString(mix(h, 6), c.Activation)
	case *StartChild:
		h = mixBytes(mixString(mix(h, 7), c.Activation), c.Child[:])
		return mixRaw(mixString(h, c.Name), &c.Input)
	case *CancelChild:
		return mixString(mixBytes(mix(h, 8), c.Child[:]), c.Act)
	case *Emit:
		return mixRaw(mixString(mix(h, 9), c.ID), &c.Event)
	case *ResolveSecrets:
		h = mix(h, 10)
		for _, n := range c.Names {
			h = mixString(h, n)
		}
		return h
	case *End:
		return mixRaw(mixProblem(mix(mix(h, 11), uint64(c.Status)), c.Error), &c.Output)
	}
	return h
}

// sum is a hash of a command's id (M3): all that looks random comes from it.
func (m *Machine) sum(purpose string, a event.Activation, attempt int) [32]byte {
	var room [128]byte
	b := append(room[:0], m.run[:]...)
	b = append(b, purpose...)
	b = append(b, 0)
	b = append(b, a...)
	b = append(b, 0)
	b = strconv.AppendInt(b, int64(attempt), 10)
	return sha256.Sum256(b)
}

// derivedID is a UUID of version 8 from a command's id.
func (m *Machine) derivedID(purpose string, a event.Activation, attempt int) event.RunID {
	s := m.sum(purpose, a, attempt)
	var id event.RunID
	copy(id[:], s[:16])
	id[6] = id[6]&0x0f | 0x80
	id[8] = id[8]&0x3f | 0x80
	return id
}

// idempotencyKey is the same for every attempt of an activation.
func (m *Machine) idempotencyKey(a event.Activation) string {
	var room [96]byte
	b := append(room[:0], m.run[:]...)
	b = append(b, a...)
	s := sha256.Sum256(b)
	return hex.EncodeToString(s[:16])
}

// purpose tells what a timer is for.
type purpose uint8

const (
	timeoutTimer purpose = iota + 1
	waitTimer
	retryTimer
	attemptTimer // attempt.duration of a retry policy
	limitTimer   // limit.duration of a retry policy
	runTimeout
)

var purposeNames = [...]string{"", "timeout", "wait", "retry", "attempt", "limit", "run"}

// timer is one timer of the run.
type timer struct {
	id    string
	frame *frame // nil: of the run
	what  purpose
	at    time.Time
	order uint64
	place int  // in the heap
	fired bool // its time came while the run was suspended
}

// timerHeap holds the timers: the next one first, each by id.
type timerHeap struct {
	list []*timer
	byID map[string]*timer
}

func (h *timerHeap) less(i, j int) bool {
	a, b := h.list[i], h.list[j]
	if !a.at.Equal(b.at) {
		return a.at.Before(b.at)
	}
	return a.order < b.order
}

func (h *timerHeap) swap(i, j int) {
	h.list[i], h.list[j] = h.list[j], h.list[i]
	h.list[i].place, h.list[j].place = i, j
}

func (h *timerHeap) up(i int) {
	for i > 0 && h.less(i, (i-1)/2) {
		h.swap(i, (i-1)/2)
		i = (i - 1) / 2
	}
}

func (h *timerHeap) down(i int) {
	for {
		c := 2*i + 1
		if c >= len(h.list) {
			return
		}
		if c+1 < len(h.list) && h.less(c+1, c) {
			c++
		}
		if !h.less(c, i) {
			return
		}
		h.swap(i, c)
		i = c
	}
}

func (h *timerHeap) add(t *timer) {
	if h.byID == nil {
		h.byID = map[string]*timer{}
	}
	h.byID[t.id] = t
	t.place = len(h.list)
	h.list = append(h.list, t)
	h.up(t.place)
}

func (h *timerHeap) remove(t *timer) {
	delete(h.byID, t.id)
	if !t.fired {
		h.unlist(t)
	}
}

// unlist takes a timer from the heap: nobody needs to wait for it any more.
func (h *timerHeap) unlist(t *timer) {
	i, last := t.place, len(h.list)-1
	h.swap(i, last)
	h.list[last] = nil
	h.list = h.list[:last]
	if i < last {
		h.down(i)
		h.up(i)
	}
}

// addTimer starts a timer under an id of its own.
func (m *Machine) addTimer(f *frame, what purpose, id string, at time.Time) *timer {
	m.order++
	t := &timer{id: id, frame: f, what: what, at: at.UTC().Truncate(time.Microsecond), order: m.order}
	m.timers.add(t)
	m.command(&StartTimer{ID: id, At: t.at})
	return t
}

// startTimer starts a timer of f; n keeps the ids of one activation apart.
func (m *Machine) startTimer(f *frame, what purpose, n int, at time.Time) {
	id := string(f.id) + "#" + strconv.Itoa(n) + ":" + purposeNames[what]
	f.timers = append(f.timers, m.addTimer(f, what, id, at))
}

func (m *Machine) stopTimer(t *timer) {
	m.timers.remove(t)
	if !t.fired {
		m.command(&StopTimer{ID: t.id})
	}
}

func (m *Machine) stopTimers(f *frame) {
	for _, t := range f.timers {
		m.stopTimer(t)
	}
	f.timers = nil
}

// stopTimersFor stops the timers of f that have a purpose.
func (m *Machine) stopTimersFor(f *frame, what purpose) {
	f.timers = slices.DeleteFunc(f.timers, func(t *timer) bool {
		if t.what == what {
			m.stopTimer(t)
		}
		return t.what == what
	})
}

func (m *Machine) stopRunTimer() {
	if m.runTimer != nil {
		m.stopTimer(m.runTimer)
		m.runTimer = nil
	}
}

// NextTimer is when the next timer is due.
func (m *Machine) NextTimer() (time.Time, bool) {
	if len(m.timers.list) == 0 {
		return time.Time{}, false
	}
	return m.timers.list[0].at, true
}

func (m *Machine) timerFired(id string) {
	t := m.timers.byID[id]
	if t == nil {
		return
	}
	m.timers.remove(t)
	f := t.frame
	if f == nil {
		m.runTimer = nil
		m.stopAll(ending{status: event.Faulted, problem: m.problem(event.Timeout, 408, "Timeout", "/timeout", "the workflow did not complete within its timeout")}, reasonTimeout)
		return
	}
	f.timers = slices.DeleteFunc(f.timers, func(o *timer) bool { return o == t })
	switch t.what {
	case timeoutTimer: // D19
		m.fault(f, m.problem(event.Timeout, 408, "Timeout", f.node.Reference, "the task did not complete within its timeout"), reasonTimeout)
	case waitTimer:
		m.setWaiting(f, false)
		m.transition(f, Transition{Change: Resumes, Status: event.Running})
		m.complete(f, f.input)
	case retryTimer:
		m.attemptAgain(f)
	case attemptTimer:
		m.cutAttempt(f, "the attempt did not complete within limit.attempt.duration", false)
	case limitTimer:
		m.cutAttempt(f, "the attempts did not complete within limit.duration", true)
	case runTimeout:
	}
}
