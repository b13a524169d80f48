package cli

import (
	"context"
	"path/filepath"

	"github.com/downbeat-dev/downbeat/internal/bundle"
	"github.com/downbeat-dev/downbeat/internal/check"
	"github.com/downbeat-dev/downbeat/internal/link"
	"github.com/downbeat-dev/downbeat/internal/server"
	"github.com/downbeat-dev/downbeat/internal/workflow"
)

// check decodes a definition, links it, and checks it for what this version can
// carry out. It opens no data directory: what names nothing elsewhere needs
// nothing but the file.
func (a *app) check(ctx context.Context, file string, src []byte, f nodeFlags) (*workflow.Definition, []workflow.Finding) {
	return check.Source(src, a.checkOptions(ctx, file, f))
}

func (a *app) checkOptions(ctx context.Context, file string, f nodeFlags) check.Options {
	o := server.CheckOptions()
	o.Place = func(uri string) string { return link.File(directoryOf(file), uri) }
	o.Link = func(def *workflow.Definition) (findings []workflow.Finding) {
		if !bundle.Needed(def) {
			return nil
		}
		l, err := a.linker(f)
		if err != nil {
			return []workflow.Finding{{Pos: def.Document.Pos, Rule: "link/configuration", Message: err.Error()}}
		}
		err = a.interruptible(ctx, func(ctx context.Context) error {
			findings = l.Link(ctx, def, directoryOf(file))
			return context.Cause(ctx)
		})
		a.stopped = a.stopped || err != nil
		return findings
	}
	return o
}

// directoryOf is where the relative paths of a definition start.
func directoryOf(file string) string {
	if file == "-" {
		return "."
	}
	return filepath.Dir(file)
}

// linker is the one of this process; it is made when a definition first needs it.
func (a *app) linker(f nodeFlags) (*link.Linker, error) {
	if a.links == nil {
		c, err := a.nodeConfig(f)
		if err != nil {
			return nil, err
		}
		if a.links, err = server.Linker(c, f.offline, f.lenient); err != nil {
			return nil, err
		}
	}
	return a.links, nil
}
