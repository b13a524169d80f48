//go:build mutation

package engine

import "os"

// The mistake that DOWNBEAT_MUTATION names is made.
var (
	mutant         = os.Getenv("DOWNBEAT_MUTATION") //nolint:forbidigo // tests of tests alone
	mutantEarly    = mutant == "early"
	mutantForget   = mutant == "forget"
	mutantLost     = mutant == "lost"
	mutantSteal    = mutant == "steal"
	mutantGreedy   = mutant == "greedy"
	mutantUnhashed = mutant == "unhashed"
)
