//go:build race

package javascript

import "time"

// Command is nil: builds with the race detector have no engine. Compiling it
// that way takes many minutes, and its scripts run in a process of their own.
func Command(int64, time.Duration) []string { return nil }
