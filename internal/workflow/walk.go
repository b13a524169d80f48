package workflow

import "iter"

// Tasks yields every task of the definition in the order of the source within
// its section: the tasks of do, then of the functions, then of the extensions;
// each before the tasks inside it.
func (d *Definition) Tasks() iter.Seq[*Task] {
	return func(yield func(*Task) bool) {
		d.Walk(func(t *Task, _ []*Task) bool { return yield(t) })
	}
}

// Walk calls visit for every task, with the tasks around it from the outermost
// in; it stops when visit returns false. The slice of parents is valid during
// the call only.
func (d *Definition) Walk(visit func(t *Task, parents []*Task) bool) {
	w := walker{visit: visit}
	if !w.list(d.Do) || !w.list(d.Use.Functions) {
		return
	}
	for _, e := range d.Use.Extensions {
		if !w.list(e.Before) || !w.list(e.After) {
			return
		}
	}
}

type walker struct {
	visit   func(*Task, []*Task) bool
	parents []*Task
}

func (w *walker) list(l TaskList) bool {
	for _, t := range l {
		if !w.visit(t, w.parents) {
			return false
		}
		w.parents = append(w.parents, t)
		for _, inner := range t.Lists() {
			if !w.list(inner) {
				return false
			}
		}
		w.parents = w.parents[:len(w.parents)-1]
	}
	return true
}

// Lists are the task lists directly inside t: the body, then the handler of a
// catch, the body of a foreach, the body of a map.
func (t *Task) Lists() []TaskList {
	var out []TaskList
	add := func(l TaskList) {
		if len(l) > 0 {
			out = append(out, l)
		}
	}
	add(t.Do)
	if t.Try != nil {
		add(t.Try.Do)
	}
	if t.Listen != nil && t.Listen.Foreach != nil {
		add(t.Listen.Foreach.Do)
	}
	if t.Call != nil {
		if t.Call.Map != nil {
			add(t.Call.Map.Do)
		}
		if t.Call.Foreach != nil {
			add(t.Call.Foreach.Do)
		}
	}
	return out
}

// find returns the value called name, or nil.
func find[T any](list []Named[T], name string) *T {
	for i := range list {
		if list[i].Name == name {
			return &list[i].Value
		}
	}
	return nil
}

// FindAuth returns the policy called name in use.authentications, or nil.
func (d *Definition) FindAuth(name string) *Auth { return find(d.Use.Authentications, name) }

// FindError returns the error called name in use.errors, or nil.
func (d *Definition) FindError(name string) *Error { return find(d.Use.Errors, name) }

// FindRetry returns the policy called name in use.retries, or nil.
func (d *Definition) FindRetry(name string) *Retry { return find(d.Use.Retries, name) }

// FindTimeout returns the timeout called name in use.timeouts, or nil.
func (d *Definition) FindTimeout(name string) *TimeoutRef { return find(d.Use.Timeouts, name) }

// FindCatalog returns the endpoint of the catalogue called name in use.catalogs, or nil.
func (d *Definition) FindCatalog(name string) *Endpoint { return find(d.Use.Catalogs, name) }

// FindFunction returns the function called name in use.functions, or nil.
func (d *Definition) FindFunction(name string) *Task {
	if i := d.Use.Functions.Index(name); i >= 0 {
		return d.Use.Functions[i]
	}
	return nil
}

// FindLinked returns the attachment that holds the function called name, or nil.
func (d *Definition) FindLinked(name string) *Attachment {
	for i := range d.Linked {
		if a := &d.Linked[i]; a.Kind == "function" && a.Name == name {
			return a
		}
	}
	return nil
}

// HasSecret reports whether use.secrets lists name (DSL 207).
func (d *Definition) HasSecret(name string) bool {
	for _, s := range d.Use.Secrets {
		if s.Name == name {
			return true
		}
	}
	return false
}

// RetryPolicy is the policy that a catch names or holds, or nil.
func (d *Definition) RetryPolicy(c *Catch) *Retry {
	if c.Retry == nil && c.RetryName != "" {
		return d.FindRetry(c.RetryName)
	}
	return c.Retry
}

// TimeoutAfter is the duration of a timeout, given in place or by name, or nil.
func (d *Definition) TimeoutAfter(t *TimeoutRef) *Duration {
	if t == nil {
		return nil
	}
	if t.Name != "" {
		t = d.FindTimeout(t.Name)
	}
	if t == nil {
		return nil
	}
	return t.After
}
