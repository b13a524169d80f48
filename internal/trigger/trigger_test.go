package trigger_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	_ "time/tzdata"

	"github.com/google/go-cmp/cmp"

	"github.com/downbeat-dev/downbeat/internal/control"
	"github.com/downbeat-dev/downbeat/internal/engine"
	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/journal"
	"github.com/downbeat-dev/downbeat/internal/lifecycle"
	"github.com/downbeat-dev/downbeat/internal/sim"
	"github.com/downbeat-dev/downbeat/internal/trigger"
	"github.com/downbeat-dev/downbeat/internal/workflow"
)

// In a bubble every test begins at midnight, January 1st 2000, UTC.

func decode(t testing.TB, src string) *workflow.Definition {
	t.Helper()
	if !strings.Contains(src, "document:") {
		src = "document: {dsl: '1.0.3', namespace: test, name: flow, version: '1.0.0'}\n" + src
	}
	def, findings := workflow.Decode([]byte(src))
	for _, f := range findings {
		if f.Severity == workflow.SeverityError {
			t.Fatal(f.Format("test"))
		}
	}
	return def
}

// life is one process with its schedules.
type life struct {
	t       testing.TB
	process *sim.Process
	control *control.Control
	trigger *trigger.Trigger

	mu      sync.Mutex
	notices []trigger.Notice
}

func begin(t testing.TB, w *sim.World, crash *sim.Crash, defs ...*workflow.Definition) *life {
	t.Helper()
	return beginAt(t, w, crash, lifecycle.Clock{}, defs...)
}

func beginAt(t testing.TB, w *sim.World, crash *sim.Crash, clock lifecycle.Clock, defs ...*workflow.Definition) *life {
	t.Helper()
	p, err := w.Begin(t.Context(), crash)
	if err != nil {
		t.Fatal(err)
	}
	l := &life{t: t, process: p, control: control.New(control.Options{Engine: p.Engine, Store: p.Store, Reader: p.Store})}
	l.trigger, err = trigger.New(trigger.Options{
		Definitions: defs, Runs: l.control, Store: p.Store, Commit: p.Engine.Commit, Version: "test", Clock: clock,
		Notify: func(n trigger.Notice) {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.notices = append(l.notices, n)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.trigger.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return l
}

// end ends the process as a kill does, but leaves no goroutine.
func (l *life) end() {
	l.t.Helper()
	l.process.Store.Kill()
	if err := l.trigger.Stop(l.t.Context()); err != nil {
		l.t.Error(err)
	}
	_ = l.process.End(l.t.Context())
}

// heard are the notices of some sorts, as "what after-the-beginning due".
func (l *life) heard(what ...trigger.What) (out []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	zero := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, n := range l.notices {
		if slices.Contains(what, n.What) {
			out = append(out, fmt.Sprintf("%s %s", n.Property, n.Due.Sub(zero)))
		}
	}
	return out
}

// runs lists what was started, the oldest first: "trigger status due input".
func (l *life) runs() (out []string) {
	l.t.Helper()
	rows, _, err := l.process.Store.Runs(context.Background(), journal.Query{Limit: 1000})
	if err != nil {
		l.t.Fatal(err)
	}
	for _, r := range rows {
		out = append(out, fmt.Sprintf("%s %s %s %s", r.Trigger, r.Labels["schedule"], r.Labels["due"], r.Status))
	}
	slices.Reverse(out)
	return out
}

func (l *life) send(events ...string) {
	l.t.Helper()
	for _, text := range events {
		id, rest, _ := strings.Cut(text, " ")
		kind, data, _ := strings.Cut(rest, " ")
		ev := map[string]any{"id": id, "source": "/test", "type": kind}
		if data != "" {
			ev["data"] = map[string]any{"order": data}
		}
		if _, err := l.control.SendEvents(l.t.Context(), []map[string]any{ev}); err != nil {
			l.t.Fatal(err)
		}
	}
}

// outputs are the outputs of all runs, the oldest first.
func (l *life) outputs() (out []string) {
	l.t.Helper()
	rows, _, err := l.process.Store.Runs(context.Background(), journal.Query{Limit: 1000})
	if err != nil {
		l.t.Fatal(err)
	}
	for _, r := range rows {
		end, err := l.process.Engine.Outcome(context.Background(), r.ID)
		if err != nil {
			l.t.Fatal(err)
		}
		out = append(out, string(end.Output.JSON()))
	}
	slices.Reverse(out)
	return out
}

func same(t testing.TB, what string, want, got any) {
	t.Helper()
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("%s (-want +got):\n%s", what, d)
	}
}

const echo = "do: [{echo: {set: '${ . }'}}]\n"

// DSL 168: every is due at each multiple after the beginning, without drift,
// and runs may overlap.
func TestEvery(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := begin(t, sim.New(), nil, decode(t, "schedule: {every: PT1H}\ndo: [{w: {wait: PT2H30M}}]\n"))
		defer l.end()
		time.Sleep(4*time.Hour + 20*time.Minute)
		synctest.Wait()
		same(t, "runs", []string{
			"schedule every 2000-01-01T01:00:00Z completed", "schedule every 2000-01-01T02:00:00Z waiting",
			"schedule every 2000-01-01T03:00:00Z waiting", "schedule every 2000-01-01T04:00:00Z waiting",
		}, l.runs())
	})
}

// DSL 169: cron, in the zone of the settings; the input is as without any (D1).
func TestCron(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		src := `
document: {dsl: '1.0.3', namespace: test, name: flow, version: '1.0.0', metadata: {downbeat: {schedule: {timezone: Europe/Berlin}}}}
schedule: {cron: '30 6 * * *'}
` + echo
		l := begin(t, sim.New(), nil, decode(t, src))
		defer l.end()
		time.Sleep(36 * time.Hour)
		synctest.Wait()
		same(t, "runs", []string{"schedule cron 2000-01-01T05:30:00Z completed", "schedule cron 2000-01-02T05:30:00Z completed"}, l.runs())
		same(t, "outputs", []string{"{}", "{}"}, l.outputs())
	})
}

// DSL 170, DSL 171: after the end of the last run, however it ended.
func TestAfter(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := sim.New()
		l := begin(t, w, nil, decode(t, "schedule: {after: PT10M}\ndo: [{w: {wait: PT5M}}, {r: {raise: {error: {type: about:blank, status: 500, title: no}}}}]\n"))
		time.Sleep(17 * time.Minute)
		synctest.Wait()
		same(t, "runs", []string{"schedule after 2000-01-01T00:00:00Z faulted", "schedule after 2000-01-01T00:15:00Z waiting"}, l.runs())
		l.end()
		// Its end is seen by the next process, whoever carried it out.
		l = begin(t, w, nil, decode(t, "schedule: {after: PT10M}\n"+echo))
		defer l.end()
		time.Sleep(14 * time.Minute)
		synctest.Wait()
		same(t, "runs", []string{
			"schedule after 2000-01-01T00:00:00Z faulted", "schedule after 2000-01-01T00:15:00Z faulted", "schedule after 2000-01-01T00:30:00Z completed",
		}, l.runs())
	})
}

// DSL 171-173, D21: events start runs; their input is an array, also of one
// event, of envelopes unless read says otherwise.
func TestOn(t *testing.T) {
	for name, c := range map[string]struct {
		schedule string
		send     []string
		want     []string
	}{
		"one":                         {"on: {one: {with: {type: a}}}", []string{"1 b", "2 a", "3 a"}, []string{`[{"id":"2","source":"/test","specversion":"1.0","type":"a"}]`, `[{"id":"3","source":"/test","specversion":"1.0","type":"a"}]`}},
		"data":                        {"on: {any: [{with: {type: a}}, {with: {type: b}}]}\n  read: data", []string{"1 b x", "2 c y", "3 a z"}, []string{`[{"order":"x"}]`, `[{"order":"z"}]`}},
		"raw":                         {"on: {one: {with: {type: a}}}\n  read: raw", []string{"1 a x"}, []string{`["eyJvcmRlciI6IngifQ=="]`}},
		"all, each event for one run": {"on: {all: [{with: {type: a}}, {with: {type: b}}]}\n  read: data", []string{"1 a 1", "2 a 2", "3 b 3", "4 b 4", "5 b 5"}, []string{`[{"order":"1"},{"order":"3"}]`, `[{"order":"2"},{"order":"4"}]`}},
		"all, correlated": {
			"on: {all: [{with: {type: a}, correlate: {o: {from: .data.order}}}, {with: {type: b}, correlate: {o: {from: .data.order}}}]}\n  read: data",
			[]string{"1 a x", "2 a y", "3 b y", "4 b z", "5 b x"},
			[]string{`[{"order":"y"},{"order":"y"}]`, `[{"order":"x"},{"order":"x"}]`},
		},
		"until":                             {"on: {any: [{with: {type: a}}], until: 'length == 3'}\n  read: data", []string{"1 a 1", "2 a 2", "3 a 3", "4 a 4"}, []string{`[{"order":"1"},{"order":"2"},{"order":"3"}]`}},
		"until another":                     {"on: {any: [{with: {type: a}}], until: {one: {with: {type: stop}}}}\n  read: data", []string{"0 stop", "1 a 1", "2 a 2", "3 stop", "4 a 4"}, []string{`[]`, `[{"order":"1"},{"order":"2"}]`}},
		"an until that faults is invisible": {"on: {any: [{with: {type: a}}], until: '.[0].order | error'}\n  read: data", []string{"1 a 1"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				l := begin(t, sim.New(), nil, decode(t, "schedule:\n  "+c.schedule+"\n"+echo))
				defer l.end()
				time.Sleep(time.Second)
				for _, ev := range c.send {
					l.send(ev)
					time.Sleep(time.Second)
				}
				synctest.Wait()
				same(t, "inputs", c.want, l.outputs())
				for _, r := range l.runs() {
					if !strings.HasPrefix(r, "event on ") {
						t.Errorf("run: %s", r)
					}
				}
			})
		})
	}
}

// DSL 174: each property starts runs, also at the same time.
func TestSeveralProperties(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := begin(t, sim.New(), nil, decode(t, "schedule:\n  every: PT1H\n  cron: 0 * * * *\n  after: P1D\n  on: {one: {with: {type: a}}}\n"+echo))
		defer l.end()
		time.Sleep(time.Minute)
		l.send("1 a")
		time.Sleep(time.Hour)
		synctest.Wait()
		got := l.runs()
		slices.Sort(got)
		same(t, "runs", []string{
			"event on 2000-01-01T00:01:00Z completed", "schedule after 2000-01-01T00:00:00Z completed",
			"schedule cron 2000-01-01T01:00:00Z completed", "schedule every 2000-01-01T01:00:00Z completed",
		}, got)
	})
}

func settings(settings, rest string) string {
	return "document: {dsl: '1.0.3', namespace: test, name: flow, version: '1.0.0', metadata: {downbeat: {schedule: {" + settings + "}}}}\n" + rest
}

// D38: what becomes of due times that passed while nobody was there.
func TestMissed(t *testing.T) {
	for missed, want := range map[string][]string{
		"":             {"every 1h0m0s", "every 5h0m0s", "every 6h0m0s"}, // latest
		"missed: skip": {"every 1h0m0s", "every 6h0m0s"},
		"missed: all":  {"every 1h0m0s", "every 2h0m0s", "every 3h0m0s", "every 4h0m0s", "every 5h0m0s", "every 6h0m0s"},
	} {
		t.Run(missed, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				def := decode(t, settings(missed, "schedule: {every: PT1H}\n"+echo))
				w := sim.New()
				first := begin(t, w, nil, def)
				time.Sleep(90 * time.Minute)
				first.end()
				time.Sleep(4 * time.Hour) // until 5:30
				l := begin(t, w, nil, def)
				defer l.end()
				time.Sleep(time.Hour)
				synctest.Wait()
				same(t, "started", want, append(first.heard(trigger.Started), l.heard(trigger.Started)...))
				if told := l.heard(trigger.Missed); (len(told) > 0) != (missed != "missed: all") {
					t.Errorf("told as missed: %v", told)
				}
			})
		})
	}
}

// D38: a restart that takes seconds misses nothing, whatever missed says.
func TestShortDowntimeMissesNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		def := decode(t, settings("missed: skip", "schedule: {every: PT1H}\n"+echo))
		w := sim.New()
		first := begin(t, w, nil, def)
		time.Sleep(time.Hour - 10*time.Second)
		first.end()
		time.Sleep(20 * time.Second)
		l := begin(t, w, nil, def)
		defer l.end()
		time.Sleep(time.Second)
		synctest.Wait()
		same(t, "started", []string{"every 1h0m0s"}, l.heard(trigger.Started))
	})
}

// D38: what is due, or comes, in a pause is not made up for.
func TestPaused(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const rest = "schedule: {every: PT1H, on: {one: {with: {type: a}}}}\n" + echo
		w := sim.New()
		l := begin(t, w, nil, decode(t, settings("paused: true, missed: all", rest)))
		time.Sleep(5 * time.Hour)
		l.send("1 a")
		time.Sleep(time.Minute)
		synctest.Wait()
		same(t, "runs in the pause", []string(nil), l.runs())
		l.end()
		l = begin(t, w, nil, decode(t, settings("missed: all", rest)))
		defer l.end()
		time.Sleep(time.Minute)
		l.send("2 a")
		time.Sleep(time.Hour)
		synctest.Wait()
		same(t, "started", []string{"on 5h2m0s", "every 6h1m0s"}, l.heard(trigger.Started))
	})
}

// D38: jitter puts a start off, by the same in every process, and is no drift.
func TestJitter(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		def := decode(t, settings("jitter: PT30M", "schedule: {every: PT1H}\n"+echo))
		w := sim.New()
		a, b := begin(t, w, nil, def), begin(t, w, nil, def)
		defer a.end()
		defer b.end()
		time.Sleep(10*time.Hour + 31*time.Minute)
		synctest.Wait()
		var late []time.Duration
		for _, n := range append(slices.Clone(a.notices), b.notices...) {
			if n.What == trigger.Started {
				late = append(late, n.At.Sub(n.Due))
			}
		}
		slices.Sort(late)
		if len(late) != 10 || late[0] < 0 || late[9] >= 30*time.Minute || late[9]-late[0] < 5*time.Minute {
			t.Errorf("late by %v", late)
		}
		if n := len(a.runs()); n != 10 {
			t.Errorf("%d runs", n)
		}
	})
}

// Two processes on the same data: each due time and each event starts one run,
// and one of them tells of it.
func TestTwoProcesses(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		def := decode(t, "schedule: {every: PT1H, after: PT2H, on: {all: [{with: {type: a}}, {with: {type: b}}]}}\n"+echo)
		w := sim.New()
		a, b := begin(t, w, nil, def), begin(t, w, nil, def)
		defer a.end()
		defer b.end()
		for i := range 4 {
			time.Sleep(59 * time.Minute)
			a.send(fmt.Sprintf("a%d a", i))
			time.Sleep(time.Minute)
			b.send(fmt.Sprintf("b%d b", i))
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		want := []string{"after 0s", "after 2h0m0s", "after 4h0m0s", "every 1h0m0s", "every 2h0m0s", "every 3h0m0s", "every 4h0m0s", "on 1h0m0s", "on 2h0m0s", "on 3h0m0s", "on 4h0m0s"}
		told := append(a.heard(trigger.Started), b.heard(trigger.Started)...)
		slices.Sort(told)
		same(t, "told", want, told)
		same(t, "runs", len(want), len(a.runs()))
	})
}

// A new version goes on where the old one was when the property says the same,
// begins anew when it says something else, and the old one rests.
func TestNewVersion(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := sim.New()
		old := begin(t, w, nil, decode(t, "schedule: {every: PT1H, cron: 0 * * * *}\n"+echo))
		defer old.end()
		time.Sleep(90 * time.Minute)
		l := begin(t, w, nil, decode(t, "document: {dsl: '1.0.3', namespace: test, name: flow, version: '2.0.0'}\nschedule: {every: PT1H, cron: 15 * * * *}\n"+echo))
		defer l.end()
		time.Sleep(75*time.Minute + time.Second) // until 2:45
		synctest.Wait()
		same(t, "old", []string{"cron"}, replaced(old))
		got := append(old.heard(trigger.Started), l.heard(trigger.Started)...)
		slices.Sort(got)
		same(t, "started", []string{"cron 1h0m0s", "cron 2h15m0s", "every 1h0m0s", "every 2h0m0s"}, got)
	})
}

func replaced(l *life) (out []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, n := range l.notices {
		if n.What == trigger.Replaced {
			out = append(out, n.Property)
		}
	}
	return out
}

// What the old version had gathered is offered to the new one, and nothing that
// was accepted in between is lost (DSL 171).
func TestNewVersionKeepsWhatWasGathered(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := sim.New()
		l := begin(t, w, nil, decode(t, "schedule:\n  on: {all: [{with: {type: a}}, {with: {type: b}}, {with: {type: c}}]}\n  read: data\n"+echo))
		time.Sleep(time.Second)
		l.send("1 a 1", "2 b 2", "3 a 3")
		time.Sleep(time.Second)
		l.end()
		sender := begin(t, w, nil)
		sender.send("4 b 4")
		sender.end()
		l = begin(t, w, nil, decode(t, "schedule:\n  on: {all: [{with: {type: a}}, {with: {type: b}}]}\n  read: data\n"+echo))
		defer l.end()
		time.Sleep(time.Second)
		synctest.Wait()
		same(t, "inputs", []string{`[{"order":"1"},{"order":"2"}]`, `[{"order":"3"},{"order":"4"}]`}, l.outputs())
	})
}

// D38: however many were missed, all are made up for, and with a jitter longer
// than the interval none is passed over.
func TestManyMissed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := sim.New()
		def := decode(t, settings("missed: all, jitter: PT5M", "schedule: {every: PT1M}\n"+echo))
		l := begin(t, w, nil, def)
		time.Sleep(20 * time.Minute)
		l.end()
		time.Sleep(5 * time.Hour)
		again := begin(t, w, nil, def)
		defer again.end()
		time.Sleep(30 * time.Minute)
		synctest.Wait()
		got := append(l.heard(trigger.Started), again.heard(trigger.Started)...)
		if len(got) < 340 || len(got) > 350 {
			t.Errorf("%d runs", len(got))
		}
		for i, n := range got {
			if want := fmt.Sprintf("every %s", time.Duration(i+1)*time.Minute); n != want {
				t.Fatalf("run %d: %s, want %s", i, n, want)
			}
		}
	})
}

// A clock that was years ahead and is put right stops no schedule.
func TestClockThatIsPutBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var ahead atomic.Int64
		ahead.Store(int64(24 * 365 * time.Hour))
		shifted := lifecycle.Clock{Shift: func() time.Duration { return time.Duration(ahead.Load()) }}
		w := sim.New()
		w.Change = func(o *engine.Options) { o.Clock = shifted }
		l := beginAt(t, w, nil, shifted, decode(t, "schedule: {every: PT1H, cron: 30 * * * *, after: PT2H}\n"+echo))
		defer l.end()
		time.Sleep(61*time.Minute + 30*time.Second)
		ahead.Store(0)
		time.Sleep(2*time.Hour + 2*time.Minute) // until 3:03
		synctest.Wait()
		got := l.heard(trigger.Started)
		slices.Sort(got)
		year := 24 * 365
		want := []string{
			fmt.Sprintf("after %dh0m0s", year), fmt.Sprintf("after %dh0m0s", year+2), "after 3h2m0s",
			"cron 1h30m0s", "cron 2h30m0s", fmt.Sprintf("cron %dh30m0s", year),
			"every 2h2m0s", "every 3h2m0s", fmt.Sprintf("every %dh0m0s", year+1),
		}
		slices.Sort(want)
		same(t, "started", want, got)
	})
}

// DSL 170: a start of after that is rejected is tried again after as long a pause.
func TestAfterARejection(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		def := decode(t, "document: {dsl: '1.0.3', namespace: test, name: flow, version: '1.0.0', metadata: {downbeat: {concurrency: {limit: 1, on: reject}}}}\nschedule: {every: PT30M, after: PT20M}\ndo: [{w: {wait: PT33M}}]\n")
		l := begin(t, sim.New(), nil, def)
		defer l.end()
		time.Sleep(140 * time.Minute)
		synctest.Wait()
		same(t, "started", []string{"after 0s", "after 53m0s", "every 1h30m0s", "after 2h6m0s"}, l.heard(trigger.Started))
		same(t, "rejected", []string{"every 30m0s", "every 1h0m0s", "after 1h46m0s", "every 2h0m0s"}, l.heard(trigger.Rejected))
		ends := 0
		for _, n := range l.notices {
			if n.What == trigger.Ended {
				ends++
			}
		}
		same(t, "ends that were told", 3, ends)
	})
}

// A concurrency limit holds; what it rejects is told, and not tried again.
func TestConcurrencyLimit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		def := decode(t, "document: {dsl: '1.0.3', namespace: test, name: flow, version: '1.0.0', metadata: {downbeat: {concurrency: {limit: 1, on: reject}}}}\nschedule: {every: PT1H}\ndo: [{w: {wait: PT2H30M}}]\n")
		l := begin(t, sim.New(), nil, def)
		defer l.end()
		time.Sleep(4*time.Hour + time.Minute)
		synctest.Wait()
		same(t, "started", []string{"every 1h0m0s", "every 4h0m0s"}, l.heard(trigger.Started))
		same(t, "rejected", []string{"every 2h0m0s", "every 3h0m0s"}, l.heard(trigger.Rejected))
	})
}

// Ends are told, with their faults; Cease lets what was started be watched on.
func TestEndsAreTold(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := begin(t, sim.New(), nil, decode(t, "schedule: {every: PT1H}\ndo: [{w: {wait: PT90M}}, {r: {raise: {error: {type: about:blank, status: 500, title: no}}}}]\n"))
		defer l.end()
		time.Sleep(61 * time.Minute)
		l.trigger.Cease()
		time.Sleep(5 * time.Hour)
		synctest.Wait()
		l.mu.Lock()
		defer l.mu.Unlock()
		if len(l.notices) != 3 || l.notices[0].What != trigger.Scheduled || l.notices[0].Due.Hour() != 1 || l.notices[1].What != trigger.Started {
			t.Fatalf("%+v", l.notices)
		}
		if n := l.notices[2]; n.What != trigger.Ended || n.Status != event.Faulted || n.Problem == nil || n.Problem.Title != "no" || n.Run != l.notices[1].Run {
			t.Errorf("%+v", n)
		}
	})
}

// busy is a store that another process holds now and then.
type busy struct {
	journal.Store
	n *atomic.Int64
}

func (b busy) Commit(ctx context.Context, batch *journal.Batch) error {
	if b.n.Add(1)%3 > 0 {
		return journal.ErrBusy
	}
	return b.Store.Commit(ctx, batch)
}

// What cannot be stored is tried again: nothing is lost, nothing is doubled.
func TestAStoreThatIsBusy(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := sim.New()
		sender := begin(t, w, nil)
		defer sender.end()
		w.Change = func(o *engine.Options) {
			b := busy{o.Store, new(atomic.Int64)}
			o.Store, o.Committer = b, journal.NewCommitter(b)
		}
		l := begin(t, w, nil, decode(t, "schedule: {every: PT1H, on: {all: [{with: {type: a}}, {with: {type: b}}]}}\n"+echo))
		defer l.end()
		time.Sleep(30 * time.Minute)
		for i := range 9 { // the last three have no partners
			sender.send(fmt.Sprintf("%d %s", i, "abb"[i/3:i/3+1]))
			if i%3 == 2 {
				time.Sleep(10 * time.Minute)
			}
		}
		time.Sleep(3 * time.Hour)
		synctest.Wait()
		got := l.heard(trigger.Started)
		slices.Sort(got)
		if len(got) != 6 || len(l.runs()) != 6 || !strings.HasPrefix(got[0], "every 1h") || !strings.HasPrefix(got[2], "every 3h") {
			t.Errorf("told %v, runs %v", got, l.runs())
		}
	})
}

// A store that is closed for good ends the schedules, and somebody hears of it.
func TestAStoreThatIsClosed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := begin(t, sim.New(), nil, decode(t, "schedule: {every: PT1H}\n"+echo))
		defer l.end()
		time.Sleep(time.Minute)
		l.process.Store.Kill()
		time.Sleep(2 * time.Hour)
		select {
		case err := <-l.trigger.Failed():
			if !errors.Is(err, journal.ErrClosed) {
				t.Error(err)
			}
		default:
			t.Error("nobody heard of it")
		}
	})
}

// Whatever instant a process ends at, no due time, no end and no event is lost,
// and none starts two runs (DSL 168-172).
func TestCrashAtEveryCommit(t *testing.T) {
	def := func(t testing.TB) *workflow.Definition {
		t.Helper()
		return decode(t, "schedule:\n  every: PT1H\n  after: PT40M\n  on: {all: [{with: {type: a}, correlate: {o: {from: .data.order}}}, {with: {type: b}, correlate: {o: {from: .data.order}}}]}\n  read: data\n"+
			"do: [{w: {wait: PT5M}}, {echo: {set: '${ $workflow.input }'}}]\n")
	}
	const hours = 3
	// play lets the schedules go on for three hours, with events from outside, and returns the runs.
	play := func(t *testing.T, crash *sim.Crash) (runs []string, died bool) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			w := sim.New()
			sender := begin(t, w, nil)
			defer sender.end()
			l := begin(t, w, crash, def(t))
			defer func() { l.end() }()
			revive := func() {
				select {
				case <-l.process.Died():
					if !died {
						died = true
						l.end()
						time.Sleep(3 * time.Second)
						l = begin(t, w, nil, def(t))
					}
				default:
				}
			}
			time.Sleep(time.Second)
			for i := range hours * 4 {
				for s := range 15 * 60 {
					time.Sleep(time.Second)
					revive()
					if s == 7 && i < 6 {
						sender.send(fmt.Sprintf("%d %s %d", i, []string{"a", "a", "b"}[i%3], i%2))
					}
				}
			}
			for range 20 { // what a restart has put off
				time.Sleep(30 * time.Second)
				revive()
			}
			synctest.Wait()
			for _, r := range l.runs() {
				runs = append(runs, strings.Join(strings.Fields(r)[:2], " "))
			}
			slices.Sort(runs)
		})
		return runs, died
	}
	want, _ := play(t, nil)
	if len(want) < 8 {
		t.Fatalf("without a crash: %v", want)
	}
	crashes := 0
	for n := 1; ; n++ {
		reached := false
		for _, stored := range []bool{false, true} {
			got, died := play(t, &sim.Crash{Commit: n, Stored: stored})
			if died {
				reached = true
				crashes++
			}
			if d := cmp.Diff(want, got); d != "" {
				t.Errorf("crash at commit %d, stored %v (-want +got):\n%s", n, stored, d)
			}
		}
		if !reached || t.Failed() {
			break
		}
	}
	t.Logf("%d crashes", crashes)
	if crashes < 20 {
		t.Errorf("%d crashes", crashes)
	}
}
