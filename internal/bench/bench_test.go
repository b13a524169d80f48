package bench_test

import (
	"bytes"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/downbeat-dev/downbeat/internal/bench"
)

// The standard set runs and reports plausible figures; with
// DOWNBEAT_BENCH=10s it measures for that long and prints them.
func TestStandardSet(t *testing.T) {
	o := bench.Options{DataDir: t.TempDir(), Duration: 300 * time.Millisecond, Limit: 200 * time.Millisecond, Concurrency: 64}
	if v := os.Getenv("DOWNBEAT_BENCH"); v != "" {
		d, err := time.ParseDuration(v)
		if err != nil {
			t.Fatal(err)
		}
		o = bench.Options{DataDir: t.TempDir(), Duration: d}
	}
	r, err := bench.Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if r.Runs == 0 || r.RunsPerSecond <= 0 || r.Commits.Before <= 0 || r.Share <= 0 || r.Single == nil || r.FanOut == nil {
		t.Errorf("%+v", r)
	}
	var out bytes.Buffer
	if err := r.Write(&out); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), "share of the limit") {
		t.Error(out.String())
	}
	t.Log("\n" + out.String())
	if b, err := r.JSON(); err != nil || !bytes.Contains(b, []byte(`"cpuSecondsPer1000Runs"`)) {
		t.Errorf("%s %v", b, err)
	}
}
