package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/program"
	"github.com/downbeat-dev/downbeat/internal/progress"
	"github.com/downbeat-dev/downbeat/internal/rehearse"
	"github.com/downbeat-dev/downbeat/internal/server"
	"github.com/downbeat-dev/downbeat/internal/tape"
	"github.com/downbeat-dev/downbeat/internal/workflow"
)

// recordable refuses a place for a recording before the run starts.
func recordable(into, workflowFile string) error {
	if into == "" {
		return nil
	}
	if workflowFile == "-" {
		return usage("", "--record: a workflow from stdin has no file that a test could name")
	}
	if !isTestFile(into) {
		return usage("", "--record %s: the name of a test file ends in .test.yaml", into)
	}
	if _, err := os.Stat(into); !errors.Is(err, fs.ErrNotExist) {
		return usage("name another file, or remove it", "--record %s: the file is there already", into)
	}
	return nil
}

// record makes a test file of a run, whatever came of it (outcome): of its
// input, of what was answered to it, and of how it ended.
func (a *app) record(ctx context.Context, n *server.Node, id event.RunID, def *workflow.Definition, workflowFile, into string, outcome error) error {
	if into == "" {
		return outcome
	}
	if err := a.writeRecording(context.WithoutCancel(ctx), n, id, def, workflowFile, into); err != nil {
		return &exit{code: exitFaulted, err: fmt.Errorf("record the run as %s: %w", into, err)}
	}
	if !a.flags.quiet {
		_, _ = fmt.Fprintf(a.err, "recorded; play it with 'downbeat test %s'\n", progress.ShellWord(into))
	}
	return outcome
}

func (a *app) writeRecording(ctx context.Context, n *server.Node, id event.RunID, def *workflow.Definition, workflowFile, into string) error {
	var events []event.Event
	const page = 1000
	for after := int64(0); ; {
		entries, err := n.Control.Journal(ctx, id, after, page)
		if err != nil {
			return fmt.Errorf("read the journal: %w", err)
		}
		for _, e := range entries {
			events = append(events, e.Events...)
			after = e.Sequence
		}
		if len(entries) < page {
			break
		}
	}
	file, err := relativeTo(filepath.Dir(into), workflowFile)
	if err != nil {
		return err
	}
	d := rehearse.Definition{File: file, Workflow: def}
	src, err := tape.Record(filepath.Base(workflowFile)+" as it was run", d, program.Options{Functions: functionsOf([]rehearse.Definition{d})}, events)
	if err != nil {
		return err
	}
	out, err := os.OpenFile(into, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644) //nolint:gosec // a test file is for everybody who sees the workflow; secrets are not in it
	if err != nil {
		return err
	}
	_, err = out.Write(src)
	return errors.Join(err, out.Close())
}

func relativeTo(dir, file string) (string, error) {
	from, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	to, err := filepath.Abs(file)
	if err != nil {
		return "", err
	}
	if rel, err := filepath.Rel(from, to); err == nil {
		return filepath.ToSlash(rel), nil
	}
	return filepath.ToSlash(to), nil
}
