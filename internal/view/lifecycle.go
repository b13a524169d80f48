package view

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"maps"
	"slices"
	"time"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/machine"
	"github.com/downbeat-dev/downbeat/internal/value"
)

// Lifecycle turns the transitions of one run into the cloud events that the
// standard defines for them (DSL 176-194). Its events have ids that are hashes
// of the run and the number of the event, so that a repetition is recognised.
type Lifecycle struct {
	Run                      event.RunID
	Namespace, Name, Version string

	count  uint64
	status event.Status
	open   []openTask // entered and not ended, in order
}

// openTask is a task that has not ended.
type openTask struct {
	activation event.Activation
	reference  string
}

// lifecyclePrefix begins every type, also in the newest text of the standard.
const lifecyclePrefix = "io.serverlessworkflow."

// Add returns the cloud events of a transition that happened at at, in the
// structured form; none for a transition that the standard has no event for.
// output is the run's, read when it completed.
func (l *Lifecycle) Add(at time.Time, t *machine.Transition, output value.Raw) []map[string]any {
	if t.Change == machine.RunChanges {
		return l.run(at, t, output)
	}
	return l.task(at, t)
}

// qualified is the name of the run as events show it (DSL 194).
func (l *Lifecycle) qualified() string {
	return l.Name + "-" + l.Run.String() + "." + l.Namespace
}

func (l *Lifecycle) run(at time.Time, t *machine.Transition, output value.Raw) []map[string]any {
	before := l.status
	l.status = t.Status
	data := map[string]any{"name": l.qualified()}
	kind, stamp := "", ""
	switch t.Status {
	case event.Running, event.Waiting:
		switch before {
		case event.Running, event.Waiting:
		case event.Suspended:
			kind, stamp = "resumed", "resumedAt"
		default:
			kind, stamp = "started", "startedAt"
			data["definition"] = map[string]any{"name": l.Name, "namespace": l.Namespace, "version": l.Version}
		}
	case event.Suspended:
		kind, stamp = "suspended", "suspendedAt"
	case event.Cancelled:
		kind, stamp = "cancelled", "cancelledAt"
	case event.Faulted:
		kind, stamp = "faulted", "faultedAt"
		data["error"] = problemValue(t.Error)
	case event.Completed:
		kind, stamp = "completed", "completedAt"
		data["output"] = anyOf(output)
	case event.Pending:
	}
	var out []map[string]any
	if kind != "" {
		data[stamp] = stampOf(at)
		out = append(out, l.event(at, "workflow."+kind, "", data))
	}
	out = append(out, l.event(at, "workflow.status-changed", "", map[string]any{
		"name": l.qualified(), "updatedAt": stampOf(at), "status": t.Status.String(),
	}))
	switch kind {
	case "suspended":
		out = append(out, l.openTasks(at, kind, event.Suspended)...)
	case "resumed":
		out = append(out, l.openTasks(at, kind, event.Running)...)
	}
	return out
}

func (l *Lifecycle) task(at time.Time, t *machine.Transition) []map[string]any {
	l.follow(t)
	one := func(kind, stamp string, status event.Status, more map[string]any) []map[string]any {
		d := map[string]any{"workflow": l.qualified(), "task": t.Reference, stamp: stampOf(at)}
		maps.Copy(d, more)
		out := []map[string]any{l.event(at, "task."+kind, t.Reference, d)}
		if status != 0 {
			out = append(out, l.changed(at, t.Reference, status))
		}
		return out
	}
	switch t.Change {
	case machine.Entered:
		created := one("created", "createdAt", 0, nil)
		return append(created, one("started", "startedAt", event.Running, nil)...)
	case machine.Skipped:
		created := one("created", "createdAt", 0, nil)
		return append(created, one("completed", "completedAt", event.Completed, map[string]any{"output": anyOf(t.Output)})...)
	case machine.Retried:
		return one("retried", "retriedAt", 0, nil)
	case machine.Waits, machine.Resumes:
		status := event.Waiting
		if t.Change == machine.Resumes {
			status = event.Running
		}
		return []map[string]any{l.changed(at, t.Reference, status)}
	case machine.TaskEnds:
		switch t.Status {
		case event.Completed:
			return one("completed", "completedAt", t.Status, map[string]any{"output": anyOf(t.Output)})
		case event.Faulted:
			return one("faulted", "faultedAt", t.Status, map[string]any{"error": problemValue(t.Error)})
		case event.Cancelled:
			return one("cancelled", "cancelledAt", t.Status, nil)
		case event.Pending, event.Running, event.Waiting, event.Suspended:
		}
	case machine.Correlates:
		d := map[string]any{"name": l.qualified()}
		if t.Status == event.Completed {
			d["completedAt"] = stampOf(at)
			if keys, ok := anyOf(t.Output).(map[string]any); ok && len(keys) > 0 {
				d["correlationKeys"] = keys
			}
			return []map[string]any{l.event(at, "workflow.correlation-completed", t.Reference, d)}
		}
		d["startedAt"] = stampOf(at)
		return []map[string]any{l.event(at, "workflow.correlation-started", t.Reference, d)}
	case machine.Dispatched, machine.RunChanges:
	}
	return nil
}

// changed is the convenience event of a task's new status.
func (l *Lifecycle) changed(at time.Time, reference string, status event.Status) map[string]any {
	return l.event(at, "task.status-changed", reference, map[string]any{
		"workflow": l.qualified(), "task": reference, "updatedAt": stampOf(at), "status": status.String(),
	})
}

// openTasks reports every task that has not ended as suspended or resumed with its run.
func (l *Lifecycle) openTasks(at time.Time, kind string, status event.Status) []map[string]any {
	var out []map[string]any
	for _, o := range l.open {
		out = append(out, l.event(at, "task."+kind, o.reference, map[string]any{
			"workflow": l.qualified(), "task": o.reference, kind + "At": stampOf(at),
		}), l.changed(at, o.reference, status))
	}
	return out
}

// follow keeps the list of open tasks.
func (l *Lifecycle) follow(t *machine.Transition) {
	at := slices.IndexFunc(l.open, func(o openTask) bool { return o.activation == t.Activation })
	switch {
	case t.Change == machine.Entered && at < 0:
		l.open = append(l.open, openTask{t.Activation, t.Reference})
	case t.Change == machine.TaskEnds && at >= 0:
		l.open = slices.Delete(l.open, at, at+1)
	}
}

func (l *Lifecycle) event(at time.Time, kind, subject string, data map[string]any) map[string]any {
	l.count++
	h := sha256.New()
	h.Write(l.Run[:])
	var n [8]byte
	binary.BigEndian.PutUint64(n[:], l.count)
	h.Write(n[:])
	e := map[string]any{
		"specversion": "1.0", "id": hex.EncodeToString(h.Sum(nil)[:16]), "type": lifecyclePrefix + kind + ".v1",
		"source": "https://downbeat.dev/runs/" + l.Run.String(), "time": stampOf(at),
		"datacontenttype": "application/json", "data": data,
	}
	if subject != "" {
		e["subject"] = subject
	}
	return e
}

func stampOf(at time.Time) string { return at.UTC().Format(time.RFC3339Nano) }

func anyOf(r value.Raw) any {
	v, err := r.Any()
	if err != nil {
		return nil
	}
	return v
}

func problemValue(p *event.Problem) any {
	if p == nil {
		return nil
	}
	v := map[string]any{"type": p.Type, "status": p.Status}
	for k, s := range map[string]string{"title": p.Title, "detail": p.Detail, "instance": p.Instance} {
		if s != "" {
			v[k] = s
		}
	}
	return v
}
