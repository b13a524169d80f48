// Command downbeat runs workflows durably; see 'downbeat --help'.
package main

import (
	"os"

	"github.com/downbeat-dev/downbeat/internal/cli"
)

func main() {
	os.Exit(cli.Main())
}
