// Package process carries out `run: shell` and `run: script` as processes of
// this machine.
//
// A program runs in a process group of its own. Before its first instruction
// its identity (boot, pid, start time, group) is journaled through
// Request.Bind: the child is this very binary, which waits at a gate until the
// journal has the identity, and only then becomes the program (see gate). When
// Downbeat dies in between, the gate stays shut and nothing has run; when it
// dies later, Recover finds the survivors and ends them.
//
// When the task ends, in whatever way, its process group ends with it: what is
// left gets SIGTERM, and SIGKILL after the grace. A daemon that shall stay has
// to leave the group (setsid, a service manager).
//
// JavaScript runs by node, as an ES module when a line begins with `import` or
// `export`, else as CommonJS; await at the top level works in both. Python runs
// by python3. Scripts lie in the attempt's directory while they run.
package process
