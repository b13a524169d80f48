package machine

// SetSlice makes slices shorter, so that small definitions are cut.
func (m *Machine) SetSlice(tasks int) { m.sliceLimit = tasks }
