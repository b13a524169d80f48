// Package rehearse runs workflows as tests: over the real machine, under a
// clock of its own, with what is outside played by mocks. A wait of thirty days
// takes no time, and nothing is ever called, started or sent for real.
//
// A test file is read by [Decode], which reports what is wrong with it as
// findings with their places. [Link] compiles the workflow and the workflows
// that it may start, and finds the tasks that the file speaks of. A [Rehearsal]
// then plays cases ([Rehearsal.Play]), says which places of the definitions
// they reached ([Rehearsal.Coverage]), rewrites expectations ([Rehearsal.Update])
// and makes cases from the journal of a real run ([Record]).
//
// The package does no input or output, starts nothing and knows no clock: the
// command line reads the files and shows the results.
//
// # Time
//
// All that happens is in one queue, in the order of its time and, within one
// moment, of its being put there: answers of mocks, timers, cloud events, and
// the acts that a case asks for. The clock jumps from one to the next. So a case
// always plays in the same way, to the last identifier.
//
// # Crashes
//
// At a crash the machine is thrown away, and made again twice: from a snapshot,
// and from the journal as it would have been stored. Both must be what was lost,
// and what the machine says to be outstanding must be what the world outside
// still works at. An attempt that was under way is then carried out again, with
// the same number and idempotency key, and is answered as it would have been;
// unless its task says metadata.downbeat.interrupted: fault, which then happens.
package rehearse
