package trigger

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/journal"
	"github.com/downbeat-dev/downbeat/internal/lifecycle"
	"github.com/downbeat-dev/downbeat/internal/machine"
	"github.com/downbeat-dev/downbeat/internal/program"
	"github.com/downbeat-dev/downbeat/internal/value"
	"github.com/downbeat-dev/downbeat/internal/workflow"
)

// gatherer finds out which cloud events start runs. What schedule.on says is
// the one listen task of a workflow of its own, so that strategies, filters and
// correlations mean here what they mean there (DSL 119-127); each set of events
// that belong together is a machine that listens.
type gatherer struct {
	program *program.Program
	types   []string
	version string
	id      string
	logger  *slog.Logger
	guard   *lifecycle.Guard

	fresh *machine.Machine // has taken nothing: what it wants begins a new set
	open  []*set           // the oldest first
}

// set is the events that were gathered for one run.
type set struct {
	m      *machine.Machine
	events []gathered
	bytes  int
}

// gathered is one cloud event as the store remembers it.
type gathered struct {
	Sequence int64           `json:"sequence"`
	At       time.Time       `json:"at"`
	Event    json.RawMessage `json:"event"`
}

// Bounds of what is gathered: beyond them the oldest set is given up.
const (
	mostSets  = 1000
	mostBytes = 16 << 20
	eventPage = 100
)

func newGatherer(t *Trigger, s *schedule, def *workflow.Definition) (*gatherer, error) {
	if def.Schedule.On.UntilFalse {
		return nil, errors.New("schedule.on.until is false: no run would ever start")
	}
	read := def.Schedule.Read
	if read == "" {
		read = "envelope" // D21
	}
	p, err := program.Compile(&workflow.Definition{Document: def.Document, Evaluate: def.Evaluate, Do: workflow.TaskList{{
		Pos: def.Schedule.On.Pos, Name: "on", Reference: "/schedule/on", Kind: workflow.ListenTask,
		Listen: &workflow.Listen{Pos: def.Schedule.On.Pos, To: *def.Schedule.On, Read: read},
	}}}, program.Options{})
	if err != nil {
		return nil, fmt.Errorf("schedule.on: %w", err)
	}
	g := &gatherer{
		program: p, version: t.o.Version, id: s.id, logger: t.o.Logger, types: p.Nodes[0].Listen.Types,
		guard: &lifecycle.Guard{Clock: t.o.Clock, Time: 10 * time.Second, Heap: 1 << 30},
	}
	return g, g.restore(nil)
}

// describe is what schedule.on says, in one form.
func describe(s *workflow.Schedule) string {
	return string(value.JSON(map[string]any{"on": strategyText(s.On), "read": s.Read}))
}

func strategyText(s *workflow.Strategy) any {
	if s == nil {
		return nil
	}
	filters := []any{}
	for i := range s.Filters {
		correlate := map[string]any{}
		for _, c := range s.Filters[i].Correlate {
			pair := []any{c.From.Source}
			if c.Expect != nil {
				pair = append(pair, c.Expect.Any)
			}
			correlate[c.Name] = pair
		}
		filters = append(filters, []any{s.Filters[i].With.Any, correlate})
	}
	until := ""
	if s.UntilExpr != nil {
		until = s.UntilExpr.Source
	}
	return []any{int(s.Mode), filters, until, strategyText(s.UntilStrategy)}
}

// listen makes a machine that waits for its first event.
func (g *gatherer) listen() (*machine.Machine, error) {
	m := machine.New(g.program)
	m.SetGuard(g.guard.Over)
	g.guard.Begin()
	_, err := m.Apply(event.Event{At: time.Unix(0, 0).UTC(), Body: &event.RunStarted{Input: emptyInput(), Runtime: g.version}})
	if err != nil {
		return nil, fmt.Errorf("listen for cloud events: %w", err)
	}
	return m, nil
}

// restore begins with what the store remembers.
func (g *gatherer) restore(state []byte) error {
	m, err := g.listen()
	if err != nil {
		return err
	}
	g.fresh, g.open = m, nil
	sets, err := decode(state)
	if err != nil {
		return err
	}
	for _, events := range sets {
		o := &set{}
		if o.m, err = g.listen(); err != nil {
			return err
		}
		for _, ev := range events {
			if _, err := g.give(o, ev); err != nil {
				return err
			}
		}
		if o.m.Listening() {
			g.open = append(g.open, o)
		}
	}
	return nil
}

// state is what the store is to remember.
func (g *gatherer) state() ([]byte, error) {
	if len(g.open) == 0 {
		return nil, nil
	}
	sets := make([][]gathered, len(g.open))
	for i, o := range g.open {
		sets[i] = o.events
	}
	b, err := json.Marshal(sets)
	if err != nil {
		return nil, fmt.Errorf("write the events that were gathered: %w", err)
	}
	return b, nil
}

func decode(state []byte) (sets [][]gathered, err error) {
	if len(state) == 0 {
		return nil, nil
	}
	if err := json.Unmarshal(state, &sets); err != nil {
		return nil, fmt.Errorf("read the events that were gathered: %w", err)
	}
	return sets, nil
}

// give applies an event to a set and reports whether the set has ended.
func (g *gatherer) give(o *set, ev gathered) (ended bool, err error) {
	g.guard.Begin()
	step, err := o.m.Apply(event.Event{At: ev.At, Body: &event.CloudEventReceived{Sequence: ev.Sequence, Event: value.FromJSON(ev.Event)}})
	for err == nil && step.More {
		step, err = o.m.Continue()
	}
	if err != nil {
		return false, fmt.Errorf("take cloud event %d: %w", ev.Sequence, err)
	}
	o.events = append(o.events, ev)
	o.bytes += len(ev.Event)
	return o.m.Status().Ended(), nil
}

// offer gives an event to the oldest set that wants it, or begins a new one.
// taken: some set did; ready: input is that of a run.
func (g *gatherer) offer(ev gathered) (input value.Raw, taken, ready bool, err error) {
	var object map[string]any
	envelope := value.FromJSON(ev.Event)
	if v, err := envelope.Any(); err == nil {
		object, _ = v.(map[string]any)
	}
	if object == nil {
		return input, false, false, nil
	}
	g.guard.Begin()
	i := slices.IndexFunc(g.open, func(o *set) bool { return o.m.Wants(object, "") })
	if i < 0 {
		if !g.fresh.Wants(object, "") {
			return input, false, false, nil
		}
		o := &set{}
		if o.m, err = g.listen(); err != nil {
			return input, false, false, err
		}
		g.open, i = append(g.open, o), len(g.open)
	}
	o := g.open[i]
	ended, err := g.give(o, ev)
	if err != nil {
		return input, false, false, err
	}
	if !ended {
		g.bound()
		return input, true, false, nil
	}
	g.open = slices.Delete(g.open, i, i+1)
	status, out, problem := o.m.Result()
	if status != event.Completed {
		// DSL 171: what goes wrong here is invisible to runs.
		g.logger.Warn("cloud events start no run", slog.String("workflow", g.id), slog.Int64("event", ev.Sequence), slog.String("error", problem.Error()))
		return input, true, false, nil
	}
	return out, true, true, nil
}

// bound gives up the oldest sets beyond the bounds.
func (g *gatherer) bound() {
	total := 0
	for _, o := range g.open {
		total += o.bytes
	}
	for len(g.open) > 1 && (len(g.open) > mostSets || total > mostBytes) {
		o := g.open[0]
		total -= o.bytes
		g.open = slices.Delete(g.open, 0, 1)
		g.logger.Warn("too many cloud events wait for others that belong to them; the oldest are given up",
			slog.String("workflow", g.id), slog.Int("events", len(o.events)), slog.Int64("first", o.events[0].Sequence))
	}
}

// from begins the row of schedule.on: a new schedule hears what is accepted
// from now on; one that says something new goes on where the old one was, and
// is offered what that had gathered.
func (s *schedule) from(ctx context.Context, old, fresh *journal.Schedule) (err error) {
	if old.Version == 0 || s.paused || strings.HasPrefix(old.Text, pausedText) {
		fresh.Cursor, err = s.t.o.Store.LastEvent(ctx)
		return err
	}
	fresh.Cursor = old.Cursor
	sets, err := decode(old.State)
	if err != nil || len(sets) == 0 {
		return err
	}
	if err := s.gather.restore(nil); err != nil {
		return err
	}
	list := slices.Concat(sets...)
	slices.SortFunc(list, func(a, b gathered) int { return cmp.Compare(a.Sequence, b.Sequence) })
	for _, ev := range list {
		if _, err := s.offer(ctx, ev, fresh); err != nil {
			return err
		}
	}
	fresh.State, err = s.gather.state()
	return err
}

// offer gives an event to what gathers, and starts a run when it was the last
// that was missing. It reports whether the event was taken.
func (s *schedule) offer(ctx context.Context, ev gathered, row *journal.Schedule) (taken bool, err error) {
	input, taken, ready, err := s.gather.offer(ev)
	if err != nil || !ready {
		return taken, err
	}
	n, err := s.start(ctx, strconv.FormatInt(ev.Sequence, 10), ev.At, input)
	if err != nil {
		return true, err
	}
	if n.What == Started {
		row.Run = n.Run
	}
	s.untold = append(s.untold, n)
	return true, nil
}

// turnEvents offers the cloud events that were accepted since the last turn.
// After an error the row is read again, and what was gathered with it.
func (s *schedule) turnEvents(ctx context.Context) (time.Time, error) {
	events, err := s.t.o.Store.CloudEvents(ctx, s.row.Cursor, s.gather.types, eventPage)
	if err != nil || len(events) == 0 {
		return time.Time{}, err
	}
	s.untold = nil
	row, changed := s.row, false
	for _, ev := range events {
		taken, err := s.offer(ctx, gathered{ev.Sequence, ev.At, ev.Data}, &row)
		if err != nil {
			return time.Time{}, err
		}
		row.Cursor, changed = ev.Sequence, changed || taken
	}
	s.rouse() // there may be more
	if !changed {
		s.row = row // a restart looks at them again, and wants none
		return time.Time{}, nil
	}
	if row.State, err = s.gather.state(); err != nil {
		return time.Time{}, err
	}
	if err := s.save(ctx, row); err != nil {
		return time.Time{}, err
	}
	s.tell()
	return time.Time{}, nil
}
