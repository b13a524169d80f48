package server

import (
	"cmp"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

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

func (l *library) read() {
	l.by = make(map[string][]*workflow.Definition)
	entries, err := os.ReadDir(l.dir)
	if err != nil {
		l.logger.Warn("directory of workflows cannot be read", slog.String("error", err.Error()))
		return
	}
	for _, e := range entries {
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
			return compareVersions(a.Document.Version, b.Document.Version)
		})
	}
}

// compareVersions orders semantic versions: numbers, then a version before its pre-releases' release.
func compareVersions(a, b string) int {
	a, _, _ = strings.Cut(a, "+")
	b, _, _ = strings.Cut(b, "+")
	a, preA, isPreA := strings.Cut(a, "-")
	b, preB, isPreB := strings.Cut(b, "-")
	if c := compareParts(a, b); c != 0 {
		return c
	}
	switch {
	case isPreA && isPreB:
		return compareParts(preA, preB)
	case isPreA:
		return -1
	case isPreB:
		return 1
	}
	return 0
}

func compareParts(a, b string) int {
	as, bs := strings.Split(a, "."), strings.Split(b, ".")
	for i := range min(len(as), len(bs)) {
		x, errX := strconv.ParseUint(as[i], 10, 64)
		y, errY := strconv.ParseUint(bs[i], 10, 64)
		var c int
		switch {
		case errX == nil && errY == nil:
			c = cmp.Compare(x, y)
		case errX == nil:
			c = -1 // numbers come before words
		case errY == nil:
			c = 1
		default:
			c = strings.Compare(as[i], bs[i])
		}
		if c != 0 {
			return c
		}
	}
	return cmp.Compare(len(as), len(bs))
}
