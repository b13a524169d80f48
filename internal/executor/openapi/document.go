package openapi

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"sync"

	"go.yaml.in/yaml/v3"

	"github.com/downbeat-dev/downbeat/internal/executor"
	"github.com/downbeat-dev/downbeat/internal/outbound"
	"github.com/downbeat-dev/downbeat/internal/value"
)

// object is a JSON object.
type object = map[string]any

// document is one OpenAPI document, as a value. It is never changed.
type document struct {
	root    object
	swagger bool // version 2
	where   *outbound.Resource
}

// documents keeps documents that were read, by the digest of their bytes.
type documents struct {
	mu   sync.Mutex
	by   map[[sha256.Size]byte]object
	size int // of their texts
}

// maxKept bounds the texts of the documents that are kept; as values they take
// about ten times as much.
const maxKept = 16 << 20

func (k *documents) read(source *outbound.Resource) (*document, error) {
	k.mu.Lock()
	root := k.by[source.Digest]
	k.mu.Unlock()
	if root == nil {
		var err error
		if root, err = parse(source.Bytes); err != nil {
			return nil, invalid("the document %s cannot be read: %v", source, err)
		}
		k.keep(source, root)
	}
	d := &document{root: root, where: source}
	version := executor.Text(root["openapi"])
	_, d.swagger = root["swagger"]
	switch {
	case d.swagger:
	case version != "" && !strings.HasPrefix(version, "3"):
		return nil, invalid("the document %s is of OpenAPI %.20s; 2.0 (Swagger), 3.0 and 3.1 are known", source, version)
	case version == "" && root["paths"] == nil:
		return nil, invalid("%s is no OpenAPI document: it has neither swagger nor openapi, and no paths", source)
	case version == "":
		// Somebody forgot the version; what only version 2 has tells it.
		d.swagger = root["definitions"] != nil || root["basePath"] != nil || root["host"] != nil
	}
	return d, nil
}

func (k *documents) keep(source *outbound.Resource, root object) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.by == nil || k.size+len(source.Bytes) > maxKept {
		k.by, k.size = map[[sha256.Size]byte]object{}, 0
	}
	k.by[source.Digest] = root
	k.size += len(source.Bytes)
}

// parse reads JSON or YAML.
func parse(b []byte) (object, error) {
	v, err := value.Decode(b)
	if err != nil {
		var n yaml.Node
		if yamlErr := yaml.Unmarshal(b, &n); yamlErr != nil {
			if t := strings.TrimSpace(string(b)); strings.HasPrefix(t, "{") {
				return nil, err // it was meant to be JSON
			}
			return nil, yamlErr
		}
		nodes := 0
		if v, err = fromNode(&n, &nodes, 0); err != nil {
			return nil, err
		}
	}
	m, ok := v.(object)
	if !ok {
		return nil, fmt.Errorf("it is no object but %s", value.TypeName(v))
	}
	return m, nil
}

// The limits of a document in YAML, where a few lines can stand for much.
const (
	maxNodes = 2_000_000
	maxDepth = 500
)

// fromNode makes a value of YAML. Unlike the decoder of package yaml it takes
// any scalar as a key (200: is a response), the last of keys that are there
// twice, and times as text.
func fromNode(n *yaml.Node, nodes *int, depth int) (any, error) {
	if *nodes++; *nodes > maxNodes || depth > maxDepth {
		return nil, errors.New("it is too large, or nested too deep")
	}
	switch n.Kind {
	case yaml.DocumentNode:
		return fromNode(n.Content[0], nodes, depth+1)
	case yaml.AliasNode:
		return fromNode(n.Alias, nodes, depth+1)
	case yaml.SequenceNode:
		list := make([]any, 0, len(n.Content))
		for _, c := range n.Content {
			v, err := fromNode(c, nodes, depth+1)
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
		return list, nil
	case yaml.MappingNode:
		m := make(object, len(n.Content)/2)
		for i := 0; i+1 < len(n.Content); i += 2 {
			v, err := fromNode(n.Content[i+1], nodes, depth+1)
			if err != nil {
				return nil, err
			}
			if part, ok := v.(object); ok && n.Content[i].Tag == "!!merge" {
				for k, x := range part {
					if _, there := m[k]; !there {
						m[k] = x
					}
				}
				continue
			}
			m[n.Content[i].Value] = v
		}
		return m, nil
	case yaml.ScalarNode:
		return fromScalar(n), nil
	}
	return nil, nil
}

func fromScalar(n *yaml.Node) any {
	switch n.Tag {
	case "!!null":
		return nil
	case "!!bool":
		return strings.EqualFold(n.Value, "true")
	case "!!int", "!!float":
		if i, err := strconv.Atoi(n.Value); err == nil {
			return i
		}
		if f, err := strconv.ParseFloat(n.Value, 64); err == nil {
			return value.Normalize(f)
		}
	}
	return n.Value
}

// follow returns v as an object, references followed.
func (d *document) follow(v any, what string) (object, error) {
	for range 50 {
		m, ok := v.(object)
		if !ok {
			if v == nil {
				return nil, nil // what is not there is no mistake here
			}
			return nil, invalid("%s in the document %s is no object but %s", what, d.where, value.TypeName(v))
		}
		ref, ok := m["$ref"].(string)
		if !ok {
			return m, nil
		}
		pointer, local := strings.CutPrefix(ref, "#")
		if !local {
			return nil, invalid("%s in the document %s is in another document, %q; bundle them into one", what, d.where, ref)
		}
		if v, ok = d.at(pointer); !ok {
			return nil, invalid("%s in the document %s is said to be at %q, where there is nothing", what, d.where, ref)
		}
	}
	return nil, invalid("%s in the document %s is a reference that leads to itself", what, d.where)
}

// at finds what a JSON pointer, as the fragment of a URI, points to.
func (d *document) at(pointer string) (any, bool) {
	var v any = d.root
	for token := range strings.SplitSeq(strings.TrimPrefix(pointer, "/"), "/") {
		if text, err := url.PathUnescape(token); err == nil {
			token = text
		}
		token = strings.NewReplacer("~1", "/", "~0", "~").Replace(token)
		switch x := v.(type) {
		case object:
			var ok bool
			if v, ok = x[token]; !ok {
				return nil, false
			}
		case []any:
			i, err := strconv.Atoi(token)
			if err != nil || i < 0 || i >= len(x) {
				return nil, false
			}
			v = x[i]
		default:
			return nil, false
		}
	}
	return v, true
}

// The readers of parts that may be of the wrong type, and then count as absent.

func listOf(v any) []any    { l, _ := v.([]any); return l }
func objectOf(v any) object { m, _ := v.(object); return m }
func stringOf(v any) string { s, _ := v.(string); return s }
func boolOf(v any) bool     { b, ok := v.(bool); return ok && b || v == "true" }
func stringsOf(v any) (all []string) {
	for _, x := range listOf(v) {
		all = append(all, stringOf(x))
	}
	return all
}
