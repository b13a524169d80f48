package secret

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"runtime"
	"slices"
	"sync"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/value"
)

// File is a store in a YAML or JSON file that holds one map. It is read again
// when it has changed.
type File struct {
	path string

	mu      sync.Mutex
	info    fs.FileInfo
	secrets map[string]any
}

var _ Store = (*File)(nil)

// OpenFile reads the file, so that mistakes in it show at once.
func OpenFile(path string) (*File, error) {
	f := &File{path: path}
	if _, err := f.load(); err != nil {
		return nil, err
	}
	return f, nil
}

// Warning says what is unsafe about the file; "" when nothing is.
func (f *File) Warning() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	if runtime.GOOS != "windows" && f.info.Mode().Perm()&0o077 != 0 {
		return fmt.Sprintf("other users of this machine can read the secrets in %s: chmod 600 %s", f.path, f.path)
	}
	return ""
}

// Secret returns one of the file.
func (f *File) Secret(_ context.Context, name string) (event.Secret, error) {
	secrets, err := f.load()
	if err != nil {
		return event.Secret{}, err
	}
	v, ok := secrets[name]
	if !ok {
		return event.Secret{}, fmt.Errorf("%w: %q in %s", ErrNotFound, name, f.path)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return event.Secret{Name: name, Version: f.info.ModTime().UTC().Format(time.RFC3339), Value: value.FromAny(v)}, nil
}

// Names lists the names of the file.
func (f *File) Names(context.Context) ([]string, error) {
	secrets, err := f.load()
	if err != nil {
		return nil, err
	}
	return sortedKeys(secrets), nil
}

func (f *File) load() (map[string]any, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	info, err := os.Stat(f.path)
	if err != nil {
		return nil, fmt.Errorf("read the secrets: %w", err)
	}
	if f.info != nil && os.SameFile(f.info, info) && f.info.ModTime().Equal(info.ModTime()) && f.info.Size() == info.Size() {
		return f.secrets, nil
	}
	b, err := os.ReadFile(f.path)
	if err != nil {
		return nil, fmt.Errorf("read the secrets: %w", err)
	}
	secrets, err := parse(b)
	if err != nil {
		return nil, fmt.Errorf("read the secrets in %s: %w", f.path, err)
	}
	f.info, f.secrets = info, secrets
	return secrets, nil
}

// parse reads a map. Errors tell lines, never values.
func parse(b []byte) (map[string]any, error) {
	var doc yaml.Node
	d := yaml.NewDecoder(bytes.NewReader(b))
	switch err := d.Decode(&doc); {
	case errors.Is(err, io.EOF):
		return map[string]any{}, nil
	case err != nil:
		return nil, errors.New("it is neither YAML nor JSON; it must hold one map of names to values")
	}
	n := 0
	v, err := fromNode(&doc, &n)
	if err != nil {
		return nil, err
	}
	switch v := v.(type) {
	case nil:
		return map[string]any{}, nil
	case map[string]any:
		return v, nil
	}
	return nil, fmt.Errorf("it holds %s; it must hold one map of names to values", value.TypeName(v))
}

const maxNodes = 100_000

// fromNode makes a value of a node. A scalar that YAML 1.1 would take for a
// time, or for a number with leading zeros, is text: it is a password.
func fromNode(n *yaml.Node, count *int) (any, error) {
	if *count++; *count > maxNodes {
		return nil, fmt.Errorf("line %d: more than %d values", n.Line, maxNodes)
	}
	switch n.Kind {
	case yaml.DocumentNode:
		return fromNode(n.Content[0], count)
	case yaml.AliasNode:
		return fromNode(n.Alias, count)
	case yaml.SequenceNode:
		list := make([]any, len(n.Content))
		for i, c := range n.Content {
			v, err := fromNode(c, count)
			if err != nil {
				return nil, err
			}
			list[i] = v
		}
		return list, nil
	case yaml.MappingNode:
		m := make(map[string]any, len(n.Content)/2)
		for i := 0; i+1 < len(n.Content); i += 2 {
			k := n.Content[i]
			if _, twice := m[k.Value]; twice || k.Kind != yaml.ScalarNode || k.Tag == "!!merge" {
				return nil, fmt.Errorf("line %d: a key must be a plain name, and there once", k.Line)
			}
			v, err := fromNode(n.Content[i+1], count)
			if err != nil {
				return nil, err
			}
			m[k.Value] = v
		}
		return m, nil
	case yaml.ScalarNode:
		return fromScalar(n), nil
	default:
		return nil, fmt.Errorf("line %d: not understood", n.Line)
	}
}

func fromScalar(n *yaml.Node) any {
	switch n.ShortTag() {
	case "!!null":
		return nil
	case "!!bool":
		return n.Value == "true" || n.Value == "True" || n.Value == "TRUE"
	case "!!int", "!!float":
		// Only what is a number in JSON too; 0123, 0x1F, 1_000 and .5 are text.
		if v, err := value.Decode([]byte(n.Value)); err == nil && value.TypeName(v) == "number" {
			return v
		}
	}
	return n.Value
}

func sortedKeys(m map[string]any) []string { return slices.Sorted(maps.Keys(m)) }
