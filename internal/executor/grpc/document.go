package grpc

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"sync"

	"github.com/bufbuild/protocompile"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/executor"
	"github.com/downbeat-dev/downbeat/internal/outbound"
)

// types are the descriptions of services and messages.
type types struct {
	files *protoregistry.Files
	*dynamicpb.Types
}

func newTypes(files *protoregistry.Files) types {
	return types{files, dynamicpb.NewTypes(files)}
}

// FindMessageByURL finds a type that Any names, here or among the well-known ones.
func (t types) FindMessageByURL(url string) (protoreflect.MessageType, error) {
	if t.Types != nil {
		if m, err := t.Types.FindMessageByURL(url); err == nil {
			return m, nil
		}
	}
	return protoregistry.GlobalTypes.FindMessageByURL(url)
}

// FindMessageByName finds a type, here or among the well-known ones.
func (t types) FindMessageByName(name protoreflect.FullName) (protoreflect.MessageType, error) {
	if t.Types != nil {
		if m, err := t.Types.FindMessageByName(name); err == nil {
			return m, nil
		}
	}
	return protoregistry.GlobalTypes.FindMessageByName(name)
}

// FindExtensionByName finds an extension of a message.
func (t types) FindExtensionByName(name protoreflect.FullName) (protoreflect.ExtensionType, error) {
	if t.Types == nil {
		return nil, protoregistry.NotFound
	}
	return t.Types.FindExtensionByName(name)
}

// FindExtensionByNumber finds an extension of a message.
func (t types) FindExtensionByNumber(message protoreflect.FullName, n protoreflect.FieldNumber) (protoreflect.ExtensionType, error) {
	if t.Types == nil {
		return nil, protoregistry.NotFound
	}
	return t.Types.FindExtensionByNumber(message, n)
}

// method finds a method. The service's package may be left out when no other
// service has the name.
func (t types) method(service, method string) (protoreflect.MethodDescriptor, error) {
	var found []protoreflect.ServiceDescriptor
	var known []string
	for f := range t.all {
		for i := range f.Services().Len() {
			s := f.Services().Get(i)
			known = append(known, string(s.FullName()))
			if string(s.FullName()) == service {
				found = []protoreflect.ServiceDescriptor{s}
				break
			}
			if string(s.Name()) == service {
				found = append(found, s)
			}
		}
		if len(found) == 1 && string(found[0].FullName()) == service {
			break
		}
	}
	slices.Sort(known)
	switch {
	case len(found) == 0:
		return nil, invalid("there is no service %q; there are [%s]", service, strings.Join(known, ", "))
	case len(found) > 1:
		return nil, invalid("there is more than one service %q: [%s]; give it with its package", service, strings.Join(known, ", "))
	}
	methods := found[0].Methods()
	if m := methods.ByName(protoreflect.Name(method)); m != nil {
		return m, nil
	}
	var names []string
	for i := range methods.Len() {
		names = append(names, string(methods.Get(i).Name()))
	}
	return nil, invalid("the service %s has no method %q; it has [%s]", found[0].FullName(), method, strings.Join(names, ", "))
}

func (t types) all(yield func(protoreflect.FileDescriptor) bool) { t.files.RangeFiles(yield) }

// documents keeps documents that were compiled, by the digest of their text.
type documents struct {
	mu sync.Mutex
	by map[[sha256.Size]byte]compiled
}

// compiled is a document with the imports that it was compiled with.
type compiled struct {
	types   types
	imports map[string][sha256.Size]byte
}

// The limits of a document.
const (
	maxDocuments = 50
	maxImports   = 500
)

// reader reads a proto document and what it imports.
type reader struct {
	client    *outbound.Client
	endpoint  executor.Endpoint
	request   *executor.Request
	userAgent string
	root      *outbound.Resource

	mu      sync.Mutex
	imports map[string][sha256.Size]byte
	failed  error
}

func (r *reader) read(ctx context.Context, uri string) (*outbound.Resource, error) {
	return r.client.Resource(ctx, &outbound.ResourceCall{
		URI: uri, Directory: r.request.BaseDirectory, UserAgent: r.userAgent,
		Authentication: r.endpoint.Authentication, Secrets: r.request.Secrets,
	})
}

// read compiles the document, unless it and its imports are as they were.
func (k *documents) read(ctx context.Context, r *reader) (types, error) {
	var err error
	if r.root, err = r.read(ctx, r.endpoint.URI); err != nil {
		return types{}, err
	}
	key := sha256.Sum256(append(r.root.Digest[:], r.root.URL.String()...))
	k.mu.Lock()
	c, ok := k.by[key]
	k.mu.Unlock()
	for name, digest := range c.imports {
		if x, err := r.find(ctx, name); err != nil || x.Digest != digest {
			ok = false
			break
		}
	}
	if ok {
		return c.types, nil
	}
	if c, err = r.compile(ctx); err != nil {
		return types{}, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.by == nil || len(k.by) >= maxDocuments {
		k.by = map[[sha256.Size]byte]compiled{}
	}
	k.by[key] = c
	return c.types, nil
}

// rootName is the name of the document itself, which nothing can import.
const rootName = "\x00document"

func (r *reader) compile(ctx context.Context) (compiled, error) {
	r.imports = map[string][sha256.Size]byte{}
	compiler := protocompile.Compiler{MaxParallelism: 1, Resolver: protocompile.WithStandardImports(protocompile.ResolverFunc(
		func(name string) (protocompile.SearchResult, error) {
			if name == rootName {
				return protocompile.SearchResult{Source: bytes.NewReader(r.root.Bytes)}, nil
			}
			x, err := r.find(ctx, name)
			r.mu.Lock()
			defer r.mu.Unlock()
			if err == nil && len(r.imports) >= maxImports {
				err = invalid("the document %s imports more than %d others", r.root, maxImports)
			}
			if err != nil {
				if _, standard := standardImports[name]; !standard && r.failed == nil {
					r.failed = err
				}
				return protocompile.SearchResult{}, err
			}
			r.imports[name] = x.Digest
			return protocompile.SearchResult{Source: bytes.NewReader(x.Bytes)}, nil
		}))}
	linked, err := compiler.Compile(ctx, rootName)
	if err != nil {
		if p, ok := errors.AsType[*event.Problem](r.failed); ok && p.Status != 400 && p.Status != 404 {
			return compiled{}, p
		}
		return compiled{}, invalid("the document %s cannot be read: %s", r.root, strings.ReplaceAll(err.Error(), rootName, path.Base(r.root.URL.Path)))
	}
	files := new(protoregistry.Files)
	for _, f := range linked {
		if err := register(files, f); err != nil {
			return compiled{}, invalid("the document %s cannot be read: %v", r.root, err)
		}
	}
	return compiled{newTypes(files), r.imports}, nil
}

// register takes a file with all that it imports.
func register(files *protoregistry.Files, f protoreflect.FileDescriptor) error {
	if _, err := files.FindFileByPath(f.Path()); err == nil {
		return nil
	}
	for i := range f.Imports().Len() {
		if err := register(files, f.Imports().Get(i).FileDescriptor); err != nil {
			return err
		}
	}
	if err := files.RegisterFile(f); err != nil {
		return fmt.Errorf("take %s: %w", f.Path(), err)
	}
	return nil
}

// find reads an import. Its name is relative to the directory of the document,
// or, as compilers are called at the root of a tree, to one of those above it.
func (r *reader) find(ctx context.Context, name string) (*outbound.Resource, error) {
	if name == "" || path.IsAbs(name) || path.Clean(name) != name || strings.HasPrefix(name, "../") || strings.ContainsAny(name, "\\\x00") {
		return nil, invalid("the document %s imports %q, which is no name of a file", r.root, name)
	}
	if _, ok := standardImports[name]; ok {
		return nil, protoregistry.NotFound
	}
	var first error
	u := *r.root.URL
	directory := path.Dir(u.Path)
	for range 1 + strings.Count(name, "/") + 3 {
		u.Path, u.RawPath = path.Join(directory, name), ""
		x, err := r.read(ctx, u.String())
		if err == nil {
			return x, nil
		}
		if first == nil {
			first = fmt.Errorf("import %q: %w", name, err)
		}
		if ctx.Err() != nil || directory == "/" || directory == "." {
			break
		}
		directory = path.Dir(directory)
	}
	return nil, first
}

// standardImports are built in.
var standardImports = func() map[string]bool {
	m := map[string]bool{}
	for _, name := range []string{"any", "api", "descriptor", "duration", "empty", "field_mask", "source_context", "struct", "timestamp", "type", "wrappers"} {
		m["google/protobuf/"+name+".proto"] = true
	}
	maps.Copy(m, map[string]bool{"google/protobuf/compiler/plugin.proto": true, "google/protobuf/cpp_features.proto": true, "google/protobuf/go_features.proto": true, "google/protobuf/java_features.proto": true})
	return m
}()
