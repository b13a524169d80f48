package worker

import "slices"

// queue holds jobs that wait for a slot: by priority, then first come first served.
type queue struct{ jobs []*job }

func (q *queue) push(j *job) {
	i, _ := slices.BinarySearchFunc(q.jobs, j, before)
	q.jobs = slices.Insert(q.jobs, i, j)
}

// before orders the jobs so that the next one stands last.
func before(a, b *job) int {
	if a.Priority != b.Priority {
		return a.Priority - b.Priority
	}
	switch {
	case a.order > b.order:
		return -1
	case a.order < b.order:
		return 1
	}
	return 0
}

func (q *queue) pop() *job {
	n := len(q.jobs)
	if n == 0 {
		return nil
	}
	j := q.jobs[n-1]
	q.jobs[n-1] = nil
	q.jobs = q.jobs[:n-1]
	return j
}

func (q *queue) remove(j *job) {
	if i := slices.Index(q.jobs, j); i >= 0 {
		q.jobs = slices.Delete(q.jobs, i, i+1)
	}
}
