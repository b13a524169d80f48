package server

import (
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/downbeat-dev/downbeat/internal/journal"
	"github.com/downbeat-dev/downbeat/internal/workflow"
)

// library is the definitions of a directory. They are read when the first is asked for.
type library struct {
	dir    string
	logger *slog.Logger
	once   sync.Once
	by     map[string][]*workflow.Definition // "namespace/name", the highest version last
}

// find returns a definition by "namespace/name:version"; "latest" is the highest version.
func (l *library) find(id string) *workflow.Definition {
	l.once.Do(l.read)
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
	l.by = make(map[string][]*workflow.Definition)
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
	}
	for _, defs := range l.by {
		slices.SortStableFunc(defs, func(a, b *workflow.Definition) int {
			return journal.CompareVersions(a.Document.Version, b.Document.Version)
		})
	}
}
