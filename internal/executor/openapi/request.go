package openapi

import (
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/executor"
)

// request is what the parameters make of an operation.
type request struct {
	url         *url.URL
	headers     map[string]any
	contentType string
	body        []byte
}

// builder puts what was given into its places.
type builder struct {
	*operation
	given   object
	used    map[string]bool // names of given
	missing []string
	path    map[string]string
	query   []pair
	cookies []pair
	headers map[string]any
}

// request makes the request of what the caller gave. A name that is declared
// in several places goes into all of them.
func (o *operation) request(given object) (*request, error) {
	b := builder{operation: o, given: given, used: map[string]bool{}, path: map[string]string{}, headers: map[string]any{}}
	for _, p := range o.parameters {
		v := b.take(p.name, p.in == "header")
		if v == nil && p.required {
			v = p.fallback()
		}
		switch {
		case v != nil:
			b.place(p, v)
		case p.required:
			b.missing = append(b.missing, p.name+" (in "+p.in+")")
		}
	}
	for _, p := range o.apiKeys() {
		if v := b.take(p.name, p.in == "header"); v != nil {
			b.place(p, v)
		}
	}
	path, err := b.expandPath()
	if err != nil {
		return nil, err
	}
	base, err := b.server()
	if err != nil {
		return nil, err
	}
	contentType := executor.Text(b.take("Content-Type", true))
	if accept := b.take("Accept", true); accept != nil {
		b.headers["Accept"] = accept
	}
	content, contentType, err := b.content(contentType)
	if err != nil {
		return nil, err
	}
	if err := b.finish(); err != nil {
		return nil, err
	}
	r := &request{headers: b.headers, body: content, contentType: contentType}
	if r.url, err = join(base, path, b.query); err != nil {
		return nil, err
	}
	if len(b.cookies) > 0 {
		var all []string
		for _, c := range b.cookies {
			all = append(all, c.name+"="+c.text)
		}
		b.headers["Cookie"] = strings.Join(all, "; ")
	}
	return r, nil
}

// take returns what was given under name; names of headers know no case.
func (b *builder) take(name string, header bool) any {
	v, there := b.given[name]
	if !there && header {
		for _, k := range slices.Sorted(maps.Keys(b.given)) {
			if strings.EqualFold(k, name) {
				name, v, there = k, b.given[k], true
				break
			}
		}
	}
	if there {
		b.used[name] = true
	}
	return v
}

func (b *builder) place(p *parameter, v any) {
	switch p.in {
	case "path":
		b.path[p.name] = p.segment(v)
	case "query":
		b.query = append(b.query, p.pairs(v)...)
	case "header":
		b.headers[http.CanonicalHeaderKey(p.name)] = p.segment(v)
	case "cookie":
		b.cookies = append(b.cookies, p.pairs(v)...)
	}
}

// expandPath fills in the path. What it names but nobody declared is a simple
// path parameter: a slip that many documents have.
func (b *builder) expandPath() (string, error) {
	var out strings.Builder
	rest := b.operation.path
	for {
		before, after, ok := strings.Cut(rest, "{")
		name, after, closed := strings.Cut(after, "}")
		if !ok || !closed {
			out.WriteString(rest)
			return out.String(), nil
		}
		text, there := b.path[name]
		if !there && !slices.ContainsFunc(b.parameters, func(p *parameter) bool { return p.in == "path" && p.name == name }) {
			if v := b.take(name, false); v != nil {
				text, there = (&parameter{name: name, in: "path", style: "simple"}).segment(v), true
			} else {
				b.missing = append(b.missing, name+" (in path)")
			}
		}
		if there && (text == "" || text == "." || text == "..") {
			return "", executor.NewProblem(event.Validation, 400, "Invalid parameter",
				"operation %s: the path parameter %s is %q, which would make another path of it", b.id, name, text)
		}
		out.WriteString(before)
		out.WriteString(text)
		rest = after
	}
}

// finish reports what is missing, and what was given in vain.
func (b *builder) finish() error {
	if len(b.missing) > 0 {
		return executor.NewProblem(event.Validation, 400, "Missing parameter",
			"operation %s (%s %s) needs %s, which with.parameters does not have", b.id, b.method, b.operation.path, strings.Join(b.missing, " and "))
	}
	for _, k := range slices.Sorted(maps.Keys(b.given)) {
		if b.used[k] || b.given[k] == nil {
			continue
		}
		var known []string
		for _, p := range append(b.parameters, b.form...) {
			known = append(known, p.name)
		}
		if b.body != nil && len(b.form) == 0 {
			known = append(known, "body")
		}
		return invalid("operation %s has no parameter %q, it has [%s]", b.id, k, strings.Join(known, ", "))
	}
	return nil
}

// join makes the address of server, path and query.
func join(base *url.URL, path string, query []pair) (*url.URL, error) {
	all := base.RawQuery
	for _, p := range query {
		if all != "" {
			all += "&"
		}
		all += p.name + "=" + p.text
	}
	u := *base
	u.RawQuery, u.Fragment, u.RawFragment = "", "", ""
	text := strings.TrimRight(u.String(), "/") + "/" + strings.TrimLeft(path, "/")
	joined, err := url.Parse(text)
	if err != nil {
		return nil, invalid("the path %s makes no address: the document has characters in it that must be escaped", path)
	}
	if joined.RawQuery != "" && all != "" {
		joined.RawQuery += "&" // some documents have a query in their paths
	}
	joined.RawQuery += all
	return joined, nil
}

// server is where the operation's requests go.
func (b *builder) server() (*url.URL, error) {
	if b.swagger {
		return b.host()
	}
	servers := listOf(b.node["servers"])
	if len(servers) == 0 {
		servers = listOf(b.item["servers"])
	}
	if len(servers) == 0 {
		servers = listOf(b.root["servers"])
	}
	if len(servers) == 0 {
		servers = []any{object{"url": "/"}}
	}
	var problem error
	for _, s := range servers {
		m, err := b.follow(s, "a server")
		if err == nil {
			var u *url.URL
			if u, err = b.expandServer(m); err == nil {
				return u, nil
			}
		}
		problem = err // the last one's: those before it are of another kind
	}
	return nil, problem
}

// expandServer fills the variables of a server in: with what was given under
// their names, else with their defaults.
func (b *builder) expandServer(m object) (*url.URL, error) {
	var out strings.Builder
	rest, variables := stringOf(m["url"]), objectOf(m["variables"])
	for {
		before, after, ok := strings.Cut(rest, "{")
		name, after, closed := strings.Cut(after, "}")
		if !ok || !closed {
			out.WriteString(rest)
			break
		}
		v := objectOf(variables[name])
		text := executor.Text(v["default"])
		if given := b.take(name, false); given != nil {
			text = executor.Text(given)
			if enum := listOf(v["enum"]); len(enum) > 0 && !slices.ContainsFunc(enum, func(x any) bool { return executor.Text(x) == text }) {
				return nil, executor.NewProblem(event.Validation, 400, "Invalid parameter", "the server variable %s is %q, which the document does not allow", name, text)
			}
		} else if v["default"] == nil {
			b.missing = append(b.missing, name+" (in server)")
		}
		out.WriteString(before)
		out.WriteString(text)
		rest = after
	}
	return b.absolute(out.String())
}

// absolute resolves a server's address against the document's.
func (b *builder) absolute(text string) (*url.URL, error) {
	u, err := url.Parse(strings.TrimSpace(text))
	if err != nil {
		return nil, invalid("the document %s names a server whose url is no URI", b.where)
	}
	if !u.IsAbs() && strings.HasPrefix(b.where.URL.Scheme, "http") {
		u = b.where.URL.ResolveReference(u)
		if text == "" || text == "/" {
			u.Path, u.RawQuery = "/", ""
		}
	}
	switch {
	case !u.IsAbs() || u.Hostname() == "":
		return nil, invalid("the document %s does not say on which host its service is; in a file its servers (host, in version 2) must be absolute", b.where)
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, invalid("the service of the document %s speaks %s; http and https are known", b.where, u.Scheme)
	}
	return u, nil
}

// host is the server by Swagger's schemes, host and basePath.
func (b *builder) host() (*url.URL, error) {
	schemes := stringsOf(b.node["schemes"])
	if len(schemes) == 0 {
		schemes = stringsOf(b.root["schemes"])
	}
	scheme := b.where.URL.Scheme
	switch {
	case slices.Contains(schemes, "https"):
		scheme = "https"
	case slices.Contains(schemes, "http"):
		scheme = "http"
	case len(schemes) > 0:
		scheme = schemes[0]
	}
	host, path := strings.TrimRight(stringOf(b.root["host"]), "/"), stringOf(b.root["basePath"])
	if !strings.HasPrefix(path, "/") {
		path = "/" + path
	}
	switch {
	case strings.Contains(host, "://"):
		return b.absolute(host + path) // it does not belong there, but is clear
	case host == "":
		return b.absolute(path)
	case scheme == "file":
		scheme = "https"
	}
	return b.absolute(scheme + "://" + host + path)
}
