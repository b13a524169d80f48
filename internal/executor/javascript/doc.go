// Package javascript is the JavaScript engine that Downbeat brings along, for
// machines without Node.js: QuickJS, translated to Go. Scripts have the
// language (ES2024 but for Atomics.waitAsync), a console, timers, and what
// their task gives them; no files, no network, no processes, no modules.
//
// The engine runs in a process of its own, which is this very binary under
// another name ([Command]): executor/process starts it as it starts node. Some
// calls of the language run for days and look at no clock (indexOf of something
// long), so that only the end of a process ends them for certain (docs/adr/0010).
package javascript
