package server

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/downbeat-dev/downbeat/internal/bundle"
	"github.com/downbeat-dev/downbeat/internal/engine"
	"github.com/downbeat-dev/downbeat/internal/journal"
	"github.com/downbeat-dev/downbeat/internal/link"
	"github.com/downbeat-dev/downbeat/internal/workflow"
)

// library is the definitions of a directory. They are read when the first is asked for.
type library struct {
	dir    string
	logger *slog.Logger
	files  map[*workflow.Definition]string
	once   sync.Once
	by     map[string][]*workflow.Definition // "namespace/name", the highest version last

	linker func() (*link.Linker, error)
	linked map[*workflow.Definition]*linked

	mu    sync.Mutex // of links
	links *link.Linker
}

// linked is a definition with what it names elsewhere. Linking asks the network
// and may take long, so that each definition waits for itself alone.
type linked struct {
	turn  chan struct{} // holds who links
	whole *workflow.Definition
}

// find returns a definition by "namespace/name:version"; "latest" is the highest
// version. It is linked when it is first asked for; nil: there is none.
func (l *library) find(ctx context.Context, id string) (*workflow.Definition, error) {
	l.once.Do(l.read)
	def := l.named(id)
	if def == nil {
		return nil, nil
	}
	d := l.linked[def]
	select {
	case d.turn <- struct{}{}:
		defer func() { <-d.turn }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	if d.whole != nil {
		return d.whole, nil
	}
	if !bundle.Needed(def) {
		d.whole = def
		return def, nil
	}
	links, err := l.link()
	if err != nil {
		return nil, err
	}
	whole, _ := workflow.Decode(def.Source) // linking changes it; what fails is tried again from the start
	for _, f := range links.Link(ctx, whole, l.dir) {
		f.File = link.File(l.dir, f.File)
		if f.Severity == workflow.SeverityError {
			return nil, &engine.InvalidError{Workflow: id, Findings: []workflow.Finding{f}, Reason: "workflow " + id + " cannot be linked: " + f.Format(l.files[def])}
		}
		l.logger.WarnContext(ctx, "workflow is linked", slog.String("finding", f.Format(l.files[def])))
	}
	d.whole = whole
	return whole, nil
}

// link is the linker, made when it is first needed.
func (l *library) link() (links *link.Linker, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.links == nil {
		if links, err = l.linker(); err != nil {
			return nil, err
		}
		l.links = links
	}
	return l.links, nil
}

func (l *library) named(id string) *workflow.Definition {
	name, version, _ := strings.Cut(id, ":")
	defs := l.by[name]
	if len(defs) == 0 {
		return nil
	}
	if version == "" || version == "latest" {
		return defs[len(defs)-1]
	}
	for _, d := range defs {
		if d.Document.Version == version {
			return d
		}
	}
	return nil
}

// isTest tells a test file, which may lie beside its workflow.
func isTest(file string) bool {
	base := strings.TrimSuffix(strings.ToLower(file), strings.ToLower(filepath.Ext(file)))
	return strings.HasSuffix(base, ".test")
}

func (l *library) read() {
	l.by, l.files, l.linked = make(map[string][]*workflow.Definition), make(map[*workflow.Definition]string), make(map[*workflow.Definition]*linked)
	entries, err := os.ReadDir(l.dir)
	if err != nil {
		l.logger.Warn("directory of workflows cannot be read", slog.String("error", err.Error()))
		return
	}
	for _, e := range entries {
		if isTest(e.Name()) {
			continue
		}
		switch strings.ToLower(filepath.Ext(e.Name())) {
		case ".yaml", ".yml", ".json":
		default:
			continue
		}
		src, err := os.ReadFile(filepath.Join(l.dir, e.Name()))
		if err != nil {
			l.logger.Warn("workflow cannot be read", slog.String("error", err.Error()))
			continue
		}
		def, findings := workflow.Decode(src)
		invalid := func(f workflow.Finding) bool { return f.Severity == workflow.SeverityError }
		if i := slices.IndexFunc(findings, invalid); def == nil || i >= 0 {
			if i >= 0 {
				l.logger.Warn("workflow is left out: it is invalid", slog.String("finding", findings[i].Format(e.Name())))
			}
			continue
		}
		name := def.Document.Namespace + "/" + def.Document.Name
		l.by[name] = append(l.by[name], def)
		l.files[def], l.linked[def] = e.Name(), &linked{turn: make(chan struct{}, 1)}
	}
	for _, defs := range l.by {
		slices.SortStableFunc(defs, func(a, b *workflow.Definition) int {
			return journal.CompareVersions(a.Document.Version, b.Document.Version)
		})
	}
}
