//go:build !mutation

package engine

// Deliberate mistakes, one for each invariant. The build tag mutation makes
// them choosable, so that .ci/mutations can see each invariant's test fail;
// without it they are constants and cost nothing.
const (
	mutantEarly    = false // 1: commands are carried out before their event is durable
	mutantForget   = false // 2: fired timers are not journaled
	mutantLost     = false // 3: interrupted attempts are not repeated
	mutantSteal    = false // 4: runs are taken from owners that live
	mutantGreedy   = false // 5: a run that has much to do does not let others go on
	mutantUnhashed = false // 2: replay is not compared with what the journal recorded
)
