// Package machine carries a run out: events in, commands and transitions out.
// It is the whole semantics of the language, as a deterministic state machine
// without clock, I/O, goroutines or randomness.
//
// A host makes a [Machine] for a run with [New], and gives it each fact of the
// run with [Machine.Apply], the first being event.RunStarted. What Apply returns
// is what the host must do once the fact is durable. After a crash the host
// applies the journaled facts again and does what [Machine.Outstanding] lists.
//
// # Laws
//
// M1. The same definition and the same events give the same commands, byte for
// byte, the same transitions and the same hash.
//
// M2. Time enters as Event.At alone, and never runs backwards within a run.
//
// M3. A command's id is (run, activation, attempt). An activation is one
// entering of a task: the same after a crash, after a retry and after a replay;
// a jump back is another one. No attempt number of an activation is used twice.
//
// M4. A command may leave only when the event that caused it is durable: that is
// the host's part. The machine's part is that every command without an answer
// is in Outstanding, and that an answer is taken once.
//
// M5. Nothing leaves a finished run, until RunReopened.
//
// M6. A journal of any earlier release replays to the hashes that it recorded.
//
// # Slices
//
// Work that no outside effect interrupts is cut into slices: a step with More
// wants [Machine.Continue]. An event that is applied while there is more to do
// is taken after all of it, unless Sliced was applied before it: then it is taken
// after exactly that many continuations, in a replay as it was the first time.
// AttemptStarted and RunEnded change nothing and count as no event here.
//
// # What a host must know
//
// A process with `await: false` is dispatched, and its task completes at once.
// Its answer is taken whenever it comes. The end of the run does not wait for
// it, and the host lets it go on; only a cancelled run cancels it and waits.
//
// While a run is suspended, answers and events are kept and take effect when it
// is resumed, in the order in which they came (D40); a timer that has fired is
// no longer outstanding. A cancellation counts them as answered.
//
// Cloud events go to all listeners, each sequence number once; those that were
// accepted before a listener was entered go to it alone (D41).
//
// What a guard stopped stands in Step.Stopped; the host journals it before the
// event of the step, and so a replay stops the same evaluation.
//
// # Activations
//
// An activation is a path: the index of a task in its list, "~n" for its n-th
// entering through a jump, and between two indexes what its list is to the task
// around it: nothing for the block of do and try, i5 for the sixth iteration of
// a for, b1 a branch, m3 an item of a map, e0 an event of a foreach, c a catch,
// f a function's body, x0b and x0a the tasks before and after of an extension.
package machine
