package machine_test

import (
	"encoding/base64"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/machine"
)

// recordJournals writes the runs of the scripts to testdata/journal/v1. Files
// that are there are never written again: a journal of a release is for ever (M6).
var recordJournals = flag.Bool("record-journals", false, "record journals of the scripts that have none")

const goldenDir = "testdata/journal/v1"

// recording is a run as a journal holds it: each event, and the hash after it.
type recording struct {
	src    string
	events []event.Event
	hashes []uint64
}

func (h *host) record() {
	if h.m != nil && len(h.events) > 0 && len(h.events) == len(h.hashes) {
		h.runs = append(h.runs, recording{h.src, h.events, h.hashes})
	}
	h.events, h.hashes = nil, nil
}

func writeGolden(t *testing.T, name string, runs []recording) {
	t.Helper()
	path := filepath.Join(goldenDir, name)
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		return
	}
	var b strings.Builder
	for _, r := range runs {
		fmt.Fprintf(&b, "-- definition --\n%s\n-- journal --\n", strings.TrimSpace(r.src))
		for i := range r.events {
			row := event.Append(nil, r.events[i:i+1], nil)
			fmt.Fprintf(&b, "%016x %s\n", r.hashes[i], base64.StdEncoding.EncodeToString(row))
		}
	}
	if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestGoldenJournals holds M6: journals of each release replay to the hashes
// that they recorded.
func TestGoldenJournals(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob(goldenDir + "/*")
	if err != nil || len(files) == 0 {
		t.Fatalf("no golden journals: %v", err)
	}
	for _, path := range files {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		runs := strings.Split(string(b), "-- definition --\n")[1:]
		for n, text := range runs {
			src, journal, ok := strings.Cut(text, "\n-- journal --\n")
			if !ok {
				t.Fatalf("%s: run %d has no journal", path, n)
			}
			replayGolden(t, fmt.Sprintf("%s: run %d", path, n), src, journal)
		}
	}
}

func replayGolden(t *testing.T, what, src, journal string) {
	t.Helper()
	m := machine.New(mustCompile(t, src))
	for i, line := range strings.Split(strings.TrimSpace(journal), "\n") {
		hash, row, _ := strings.Cut(line, " ")
		want, err := strconv.ParseUint(hash, 16, 64)
		if err != nil {
			t.Fatal(err)
		}
		data, err := base64.StdEncoding.DecodeString(row)
		if err != nil {
			t.Fatal(err)
		}
		events, err := event.Decode(data, nil)
		if err != nil {
			t.Fatalf("%s: event %d: %v", what, i, err)
		}
		for _, e := range events {
			s, err := m.Apply(e)
			for err == nil && s.More {
				s, err = m.Continue()
			}
			if err != nil {
				t.Fatalf("%s: event %d: %v", what, i, err)
			}
		}
		if m.Hash() != want {
			t.Fatalf("%s: replay diverged at event %d, %T: hash %x, recorded %x (M6)", what, i, events[0].Body, m.Hash(), want)
		}
	}
}
