package asyncapi

import (
	"errors"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/outbound"
	"github.com/downbeat-dev/downbeat/internal/value"
)

// The limits of what one document may refer to.
const (
	maxFiles = 50
	maxBytes = 16 << 20 // of all files together
	maxHops  = 50       // from reference to reference
)

// reader reads a file that a document refers to.
type reader func(u *url.URL) (*outbound.Resource, error)

// reference is a $ref, with the file in which it stands: relative names start there.
type reference struct {
	base *url.URL
	text string
}

// nameOf is the last part of what a $ref points to, by which people know it.
func nameOf(v any) string {
	r, ok := objectOf(v)["$ref"].(reference)
	if !ok {
		return ""
	}
	_, pointer, _ := strings.Cut(r.text, "#")
	return unescape(pointer[strings.LastIndexByte(pointer, '/')+1:])
}

// decode reads JSON or YAML; its references know where they stand.
func decode(source *outbound.Resource, base *url.URL) (any, error) {
	v, err := value.Decode(source.Bytes)
	if err != nil {
		var plain any
		if err := yaml.Unmarshal(source.Bytes, &plain); err != nil {
			return nil, errors.New(strings.TrimPrefix(err.Error(), "yaml: "))
		}
		v = value.Normalize(plain)
	}
	place(v, base)
	return v, nil
}

func place(v any, base *url.URL) {
	for _, x := range listOf(v) {
		place(x, base)
	}
	m := objectOf(v)
	for k, x := range m {
		if text, ok := x.(string); ok && k == "$ref" {
			m[k] = reference{base, text}
			continue
		}
		place(x, base)
	}
}

// follow returns v as an object, references followed. What cannot be followed
// is kept as the document's problem.
func (d *document) follow(v any) object {
	for range maxHops {
		m := objectOf(v)
		ref, ok := m["$ref"].(reference)
		if !ok {
			return m
		}
		if v = d.at(ref); v == nil {
			return nil
		}
	}
	return d.fail(invalid("the document %s has a reference that leads to itself", d.where))
}

// fail keeps the first problem.
func (d *document) fail(err error) object {
	if d.problem == nil {
		d.problem = err
	}
	return nil
}

// at finds what a reference points to.
func (d *document) at(ref reference) any {
	file, pointer, _ := strings.Cut(ref.text, "#")
	v := d.file(ref.base, file)
	if v == nil || pointer == "" {
		return v
	}
	for token := range strings.SplitSeq(strings.TrimPrefix(pointer, "/"), "/") {
		token = unescape(token)
		if list := listOf(v); list != nil {
			if i, err := strconv.Atoi(token); err == nil && i >= 0 && i < len(list) {
				v = list[i]
				continue
			}
		}
		there := objectOf(v)
		if v = there[token]; v == nil {
			names := slices.Sorted(maps.Keys(there))
			d.fail(invalid("the document %s refers to %q, where there is nothing; instead of %q there is [%s]",
				shown(ref.base), ref.text, token, strings.Join(names[:min(len(names), 20)], ", ")))
			return nil
		}
	}
	return v
}

// file is the content of a file that base refers to; it is read when it is
// needed, so that what describes payloads only for people is never asked for.
func (d *document) file(base *url.URL, text string) any {
	u, err := base.Parse(text)
	if err != nil {
		d.fail(invalid("the document %s refers to %q, which is no URI", shown(base), text))
		return nil
	}
	u.Fragment = ""
	key := u.String()
	if v, there := d.files[key]; there {
		return v
	}
	switch {
	case u.Scheme != "file" && (u.Host == "" || u.Scheme != "http" && u.Scheme != "https"):
		d.fail(invalid("the document %s refers to %q; it may refer to files and to what is under http and https", shown(base), text))
		return nil
	case u.Scheme == "file" && base.Scheme != "file":
		d.fail(invalid("the document %s refers to the file %q; what comes over the network may refer to http and https only", shown(base), text))
		return nil
	case d.count >= maxFiles:
		d.fail(invalid("the document %s refers to more than %d files, which is the limit; bundle them into one", d.where, maxFiles))
		return nil
	}
	d.count++
	source, err := d.read(u)
	if err != nil {
		d.fail(refers(base, text, err))
		return nil
	}
	if d.bytes += len(source.Bytes); d.bytes > maxBytes {
		d.fail(invalid("the document %s and the files to which it refers have more than %d bytes together, which is the limit", d.where, maxBytes))
		return nil
	}
	where := location(source)
	v, err := decode(source, where)
	if err != nil {
		d.fail(invalid("the document %s, to which %s refers, cannot be read: %v", source, shown(base), err))
		return nil
	}
	d.files[key], d.files[where.String()] = v, v
	return v
}

// refers says who wanted a file that cannot be had. What kind of problem it is
// stays, for those who retry.
func refers(base *url.URL, text string, err error) error {
	p, ok := errors.AsType[*event.Problem](err)
	if !ok {
		return err
	}
	told := *p
	why, _, _ := strings.Cut(p.Detail, "; relative paths start") // those of a document start elsewhere
	told.Detail = "the document " + shown(base) + " refers to " + strconv.Quote(text) + ": " + why
	return &told
}

// location is where a resource was in the end, as a URL that others can be relative to.
func location(r *outbound.Resource) *url.URL {
	u := *r.URL
	if u.Scheme == "file" && !strings.HasPrefix(u.Path, "/") {
		u.Path = "/" + u.Path // a drive of Windows
	}
	u.Fragment = ""
	return &u
}

// address is what a resource is asked for by: files by their path, as the system has it.
func address(u *url.URL) string {
	if u.Scheme != "file" || u.Host != "" {
		return u.String()
	}
	if p := strings.TrimPrefix(u.Path, "/"); len(p) > 1 && p[1] == ':' {
		return p
	}
	return u.Path
}

func shown(u *url.URL) string { return (&outbound.Resource{URL: u}).String() }

// origin is the server of a URL: what authenticates at one is not for another.
func origin(u *url.URL) string { return strings.ToLower(u.Scheme + "://" + u.Host) }

// fallback is the default of a variable or parameter, which version 2 may have in its schema.
func (d *document) fallback(described any) any {
	m := d.follow(described)
	if v, ok := m["default"]; ok {
		return v
	}
	return d.follow(m["schema"])["default"]
}

// within reports whether one of the names is given.
func within(all []candidate, name string) (candidate, bool) {
	i := slices.IndexFunc(all, func(c candidate) bool { return c.name == name })
	if i < 0 {
		return candidate{}, false
	}
	return all[i], true
}
