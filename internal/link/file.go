package link

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/downbeat-dev/downbeat/internal/bundle"
	"github.com/downbeat-dev/downbeat/internal/workflow"
)

// limit is how many bytes one document may have. A function is read as a
// definition is, and has its bound.
func limit(kind string) int64 {
	if kind == bundle.Script {
		return bundle.MaxBytes
	}
	return workflow.MaxSource
}

// readFile reads a file of this machine. Files are not cached: they are here.
func (s *session) readFile(w bundle.Want) (document, error) {
	name := filePath(s.directory, w.URI)
	info, err := os.Stat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist) && w.Catalog != "":
		root := catalogOf(name)
		if _, err := os.Stat(root); err != nil {
			return document{}, &failure{
				"missing", fmt.Sprintf("there is no directory %s, the endpoint of the catalogue %s", root, w.Catalog),
				"relative paths start at the directory of the workflow",
			}
		}
		return document{}, &failure{"missing", "there is no file " + name, others(listDirectory(root), w)}
	case errors.Is(err, fs.ErrNotExist):
		return document{}, &failure{"missing", "there is no file " + name, "relative paths start at the directory of the document that names them"}
	case err != nil:
		return document{}, &failure{"file", fmt.Sprintf("the file cannot be read: %v", err), ""}
	case !info.Mode().IsRegular(): // reading a pipe might never end
		return document{}, &failure{"file", name + " is no file", "name the file itself"}
	}
	f, err := os.Open(name)
	if err != nil {
		return document{}, &failure{"file", fmt.Sprintf("the file cannot be read: %v", err), ""}
	}
	defer f.Close() //nolint:errcheck // it was only read
	b, err := io.ReadAll(io.LimitReader(f, limit(w.Kind)+1))
	if err != nil {
		return document{}, &failure{"file", fmt.Sprintf("the file cannot be read: %v", err), ""}
	}
	if int64(len(b)) > limit(w.Kind) {
		return document{}, &failure{"size", fmt.Sprintf("the file %s has more than %d bytes, which is the limit", name, limit(w.Kind)), ""}
	}
	return document{content: b, uri: w.URI}, nil
}
