package sqlite_test

import (
	"os"
	"strconv"
	"testing"

	"github.com/downbeat-dev/downbeat/internal/store/sqlite"
)

// TestMeasureLimit runs for DOWNBEAT_LIMIT_SECONDS when that is set, else only
// long enough to see that it works.
func TestMeasureLimit(t *testing.T) {
	seconds := 0.2
	if v := os.Getenv("DOWNBEAT_LIMIT_SECONDS"); v != "" {
		var err error
		if seconds, err = strconv.ParseFloat(v, 64); err != nil {
			t.Fatal(err)
		}
	}
	limit, err := sqlite.MeasureLimit(t.Context(), t.TempDir(), seconds)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%.0f requests/s in %.0f transactions/s", limit.CommitsPerSecond, limit.TransactionsPerSecond)
	if limit.CommitsPerSecond <= 0 {
		t.Error("nothing was measured")
	}
}
