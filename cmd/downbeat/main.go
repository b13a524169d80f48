// Command downbeat runs workflows durably; see 'downbeat --help'.
package main

import (
	"os"
	_ "time/tzdata" // schedules name time zones, and a machine may have none

	"github.com/downbeat-dev/downbeat/internal/cli"
)

func main() {
	os.Exit(cli.Main())
}
