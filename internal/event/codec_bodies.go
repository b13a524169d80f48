package event

func (r *reader) started() *RunStarted {
	b := new(RunStarted)
	for r.next() {
		switch r.field {
		case 1:
			b.Run = r.run()
		case 2:
			b.Revision = uint32(r.uint(1<<32 - 1))
		case 3:
			b.Definition = r.string()
		case 4:
			b.Namespace = r.string()
		case 5:
			b.Name = r.string()
		case 6:
			b.Version = r.string()
		case 7:
			b.Definitions = append(b.Definitions, r.named())
		case 8:
			b.Input = r.raw()
		case 9:
			b.Trigger = r.string()
		case 10:
			b.Parent = r.parent()
		case 11:
			b.Depth = r.int()
		case 12:
			k, v := r.pair()
			if b.Labels == nil {
				b.Labels = make(map[string]string)
			}
			b.Labels[k] = v
		case 13:
			b.Runtime = r.string()
		case 14:
			b.Directory = r.string()
		default:
			r.skip()
		}
	}
	return b
}

func (r *reader) named() (n Named) {
	m := r.message()
	for m.next() {
		switch m.field {
		case 1:
			n.Name = m.string()
		case 2:
			n.ID = m.string()
		case 3:
			n.Digest = m.string()
		default:
			m.skip()
		}
	}
	r.fail(m.err)
	return n
}

func (r *reader) parent() *Parent {
	m := r.message()
	p := new(Parent)
	for m.next() {
		switch m.field {
		case 1:
			p.Run = m.run()
		case 2:
			p.Activation = Activation(m.string())
		case 3:
			p.Attempt = m.int()
		case 4:
			p.Await = m.bool()
		default:
			m.skip()
		}
	}
	r.fail(m.err)
	return p
}

// pair reads a message of two strings.
func (r *reader) pair() (a, b string) {
	m := r.message()
	a, b = m.act()
	r.fail(m.err)
	return a, b
}

// act reads two strings, fields 1 and 2.
func (r *reader) act() (a, b string) {
	for r.next() {
		switch r.field {
		case 1:
			a = r.string()
		case 2:
			b = r.string()
		default:
			r.skip()
		}
	}
	return a, b
}

func (r *reader) completed() *TaskCompleted {
	b := new(TaskCompleted)
	for r.next() {
		switch r.field {
		case 1:
			b.Activation = Activation(r.string())
		case 2:
			b.Attempt = r.int()
		case 3:
			b.Output = r.raw()
		case 4:
			scheme, parameter := r.pair()
			b.Authorization = &Authorization{Scheme: scheme, Parameter: parameter}
		default:
			r.skip()
		}
	}
	return b
}

func (r *reader) failed() *TaskFailed {
	b := new(TaskFailed)
	for r.next() {
		switch r.field {
		case 1:
			b.Activation = Activation(r.string())
		case 2:
			b.Attempt = r.int()
		case 3:
			b.Error = *r.problem()
		default:
			r.skip()
		}
	}
	return b
}

func (r *reader) cancelled() *TaskCancelled {
	b := new(TaskCancelled)
	for r.next() {
		switch r.field {
		case 1:
			b.Activation = Activation(r.string())
		case 2:
			b.Attempt = r.int()
		case 3:
			b.Unknown = r.bool()
		default:
			r.skip()
		}
	}
	return b
}

func (r *reader) attemptStarted() *AttemptStarted {
	b := new(AttemptStarted)
	for r.next() {
		switch r.field {
		case 1:
			b.Activation = Activation(r.string())
		case 2:
			b.Attempt = r.int()
		case 3:
			b.Handle = r.raw()
		default:
			r.skip()
		}
	}
	return b
}

func (r *reader) timer() *TimerFired {
	b := new(TimerFired)
	b.Timer, _ = r.act()
	return b
}

func (r *reader) cloudEvent() *CloudEventReceived {
	b := new(CloudEventReceived)
	for r.next() {
		switch r.field {
		case 1:
			b.Sequence = r.int64()
		case 2:
			b.Event = r.raw()
		case 3:
			b.Listener = Activation(r.string())
		default:
			r.skip()
		}
	}
	return b
}

func (r *reader) child() *ChildEnded {
	b := new(ChildEnded)
	for r.next() {
		switch r.field {
		case 1:
			b.Activation = Activation(r.string())
		case 2:
			b.Attempt = r.int()
		case 3:
			b.Child = r.run()
		case 4:
			b.Status = r.status()
		case 5:
			b.Output = r.raw()
		case 6:
			b.Error = r.problem()
		default:
			r.skip()
		}
	}
	return b
}

func (r *reader) secrets() *SecretsResolved {
	b := new(SecretsResolved)
	for r.next() {
		switch r.field {
		case 1:
			b.Secrets = append(b.Secrets, r.secret())
		case 2:
			b.Missing = append(b.Missing, r.string())
		default:
			r.skip()
		}
	}
	return b
}

func (r *reader) secret() (s Secret) {
	m := r.message()
	for m.next() {
		switch m.field {
		case 1:
			s.Name = m.string()
		case 2:
			s.Version = m.string()
		case 3:
			s.Value = m.raw()
		default:
			m.skip()
		}
	}
	r.fail(m.err)
	return s
}

func (r *reader) stopped() *EvaluationStopped {
	b := new(EvaluationStopped)
	for r.next() {
		switch r.field {
		case 1:
			b.Ordinal = r.uint(1<<64 - 1)
		case 2:
			b.Reason = r.string()
		default:
			r.skip()
		}
	}
	return b
}

func (r *reader) sliced() *Sliced {
	b := new(Sliced)
	for r.next() {
		switch r.field {
		case 1:
			b.Slices = r.int()
		default:
			r.skip()
		}
	}
	return b
}

func (r *reader) ended() *RunEnded {
	b := new(RunEnded)
	for r.next() {
		switch r.field {
		case 1:
			b.Status = r.status()
		case 2:
			b.Output = r.raw()
		case 3:
			b.Error = r.problem()
		case 4:
			b.Tasks = r.blob()
		default:
			r.skip()
		}
	}
	return b
}

func (r *reader) reopened() *RunReopened {
	b := new(RunReopened)
	for r.next() {
		switch r.field {
		case 1:
			b.Definition = r.string()
		case 2:
			b.State = r.blob()
		case 3:
			b.By = r.string()
		case 4:
			b.Child = r.run()
		case 5:
			b.Tasks = r.blob()
		default:
			r.skip()
		}
	}
	return b
}

func (r *reader) forked() *RunForked {
	b := new(RunForked)
	for r.next() {
		switch r.field {
		case 1:
			m := r.message()
			b.Start = *m.started()
			r.fail(m.err)
		case 2:
			b.From = r.run()
		case 3:
			b.Sequence = r.int64()
		case 4:
			b.State = r.blob()
		case 5:
			b.Tasks = r.blob()
		default:
			r.skip()
		}
	}
	return b
}
