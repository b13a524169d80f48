package journal

// Reset empties a batch and keeps its room.
func (b *Batch) Reset() { b.reset() }

func (b *Batch) reset() {
	b.Definitions = empty(b.Definitions)
	b.Starts = empty(b.Starts)
	b.Appends = empty(b.Appends)
	b.Updates = empty(b.Updates)
	b.Snapshots = empty(b.Snapshots)
	b.Payloads = empty(b.Payloads)
	b.Subscriptions = empty(b.Subscriptions)
	b.Unsubscribe = empty(b.Unsubscribe)
	b.Inbox = empty(b.Inbox)
	b.InboxDone = empty(b.InboxDone)
	b.Events = empty(b.Events)
	b.Keys = empty(b.Keys)
	b.Schedules = empty(b.Schedules)
}

// empty lets go of what the elements refer to.
func empty[T any](s []T) []T {
	clear(s)
	return s[:0]
}

func (b *Batch) add(o *Batch) {
	b.Appends = append(b.Appends, o.Appends...)
	b.Definitions = append(b.Definitions, o.Definitions...)
	b.Starts = append(b.Starts, o.Starts...)
	b.Updates = append(b.Updates, o.Updates...)
	b.Snapshots = append(b.Snapshots, o.Snapshots...)
	b.Payloads = append(b.Payloads, o.Payloads...)
	b.Subscriptions = append(b.Subscriptions, o.Subscriptions...)
	b.Unsubscribe = append(b.Unsubscribe, o.Unsubscribe...)
	b.Inbox = append(b.Inbox, o.Inbox...)
	b.InboxDone = append(b.InboxDone, o.InboxDone...)
	b.Events = append(b.Events, o.Events...)
	b.Keys = append(b.Keys, o.Keys...)
	b.Schedules = append(b.Schedules, o.Schedules...)
}

// size is about how much a batch costs to store.
func (b *Batch) size() (items, bytes int) {
	items = len(b.Appends) + len(b.Definitions) + len(b.Starts) + len(b.Updates) + len(b.Snapshots) + len(b.Payloads) +
		len(b.Subscriptions) + len(b.Unsubscribe) + len(b.Inbox) + len(b.InboxDone) + len(b.Events) + len(b.Keys) + len(b.Schedules)
	for i := range b.Appends {
		bytes += len(b.Appends[i].Data)
	}
	for i := range b.Definitions {
		bytes += len(b.Definitions[i].Source)
	}
	for i := range b.Snapshots {
		bytes += len(b.Snapshots[i].State)
	}
	for i := range b.Payloads {
		bytes += len(b.Payloads[i].Data)
	}
	for i := range b.Inbox {
		bytes += len(b.Inbox[i].Data)
	}
	for i := range b.Events {
		bytes += len(b.Events[i].Data)
	}
	for i := range b.Schedules {
		bytes += len(b.Schedules[i].State)
	}
	return items, bytes
}
