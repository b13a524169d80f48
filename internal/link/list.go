package link

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/downbeat-dev/downbeat/internal/bundle"
	"github.com/downbeat-dev/downbeat/internal/source"
	"github.com/downbeat-dev/downbeat/internal/workflow"
)

// Function is a function of a catalogue.
type Function struct{ Name, Version string }

// ErrNoList says that what a catalogue has cannot be listed.
var ErrNoList = errors.New("a catalogue over http cannot be listed: it has no index; name a function and its version, or name the catalogue by file: or git")

// maxListed bounds what is listed of a catalogue.
const maxListed = 10_000

// List lists the functions of a catalogue of def, by name and version.
func (l *Linker) List(ctx context.Context, def *workflow.Definition, directory, catalog string) ([]Function, error) {
	e := def.FindCatalog(catalog)
	if e == nil {
		return nil, fmt.Errorf("the workflow has no catalogue %q", catalog)
	}
	uri := e.URI.String()
	probe, err := bundle.FunctionURI(uri, "x", "0.0.0")
	if source.IsDynamic(uri) {
		err = fmt.Errorf("%s is known only when the workflow runs", source.Quote(uri))
	}
	switch {
	case err != nil:
		return nil, fmt.Errorf("the catalogue %q: %w", catalog, err)
	case strings.HasPrefix(probe, "file:"):
		root := catalogOf(filePath(directory, probe))
		if info, err := os.Stat(root); err != nil || !info.IsDir() {
			return nil, fmt.Errorf("the catalogue %q: there is no directory %s", catalog, root)
		}
		return listDirectory(root), nil
	case !bundle.Git(probe):
		return nil, ErrNoList
	}
	s := l.session(def, directory)
	defer s.git.remove()
	policy, err := s.authentication(ctx, e.Auth)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, l.o.Patience)
	defer cancel()
	return s.git.list(ctx, uri, policy)
}

// catalogOf is the directory of a catalogue that has this function.yaml.
func catalogOf(file string) string {
	for range 4 { // functions/name/version/function.yaml
		file = filepath.Dir(file)
	}
	return file
}

func listDirectory(root string) []Function {
	files, err := filepath.Glob(filepath.Join(root, "functions", "*", "*", "function.yaml"))
	if err != nil {
		return nil
	}
	for i, f := range files {
		rel, err := filepath.Rel(root, f)
		if err != nil {
			return nil
		}
		files[i] = filepath.ToSlash(rel)
	}
	return listFiles(files, "")
}

// listFiles finds the functions among the files of a catalogue in dir.
func listFiles(files []string, dir string) []Function {
	var out []Function
	for _, f := range files {
		if dir != "" {
			var ok bool
			if f, ok = strings.CutPrefix(f, dir+"/"); !ok {
				continue
			}
		}
		parts := strings.Split(f, "/")
		if len(parts) == 4 && parts[0] == "functions" && parts[3] == "function.yaml" && fs.ValidPath(f) && len(out) < maxListed {
			out = append(out, Function{parts[1], parts[2]})
		}
	}
	slices.SortFunc(out, func(a, b Function) int {
		if a.Name != b.Name {
			return strings.Compare(a.Name, b.Name)
		}
		return strings.Compare(a.Version, b.Version)
	})
	return out
}

// others says which functions of the catalogue could have been meant.
func others(list []Function, w bundle.Want) string {
	var versions, names []string
	for _, f := range list {
		if f.Name == w.Function {
			versions = append(versions, f.Version)
		}
		if !slices.Contains(names, f.Name) {
			names = append(names, f.Name)
		}
	}
	const most = 12
	switch {
	case len(versions) > 0:
		return fmt.Sprintf("the catalogue %s has %s in version %s", w.Catalog, w.Function, strings.Join(versions, ", "))
	case len(names) == 0:
		return fmt.Sprintf("the catalogue %s has no functions; they are at functions/NAME/VERSION/function.yaml below its endpoint", w.Catalog)
	}
	if near := source.Nearest(w.Function, names); near != "" {
		return fmt.Sprintf("did you mean %s? the catalogue %s has %s", near, w.Catalog, strings.Join(names[:min(len(names), most)], ", "))
	}
	return fmt.Sprintf("the catalogue %s has %s", w.Catalog, strings.Join(names[:min(len(names), most)], ", "))
}
