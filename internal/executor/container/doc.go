// Package container carries out `run: container` by an engine that speaks
// Docker's API: Docker itself, or Podman's socket.
//
// Every container carries labels: downbeat.run, downbeat.activation and
// downbeat.attempt name the attempt that it belongs to, downbeat.task and
// downbeat.workflow say it for people. So an attempt never has two containers:
// before one is made, the engine is asked for the attempt's own. After a crash
// of Downbeat it is found that way and adopted: one that still runs is awaited,
// one that has ended gives its result.
//
// A command is a command line for the image's own sh, with the arguments as
// positional parameters, exactly as `run: shell` has it. Without a command the
// arguments follow the image's entry point; when it has none, they follow the
// image's default command.
//
// What lifetime says happens to a container that has ended by itself, in
// whatever way. One whose task is cancelled is stopped (the grace, then
// SIGKILL) and removed always. For `eventually` the time is in the label
// downbeat.remove-after, counted from the end of the container by the engine's
// clock: whoever looks first (Reap, or the next task with a container) removes it.
//
// The engine is the one of DOCKER_HOST or CONTAINER_HOST, else the first of the
// usual sockets that answers. When it goes away in the middle, for a restart
// perhaps, the task waits for its return for a minute before it faults.
package container
