package asyncapi_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/downbeat-dev/downbeat/internal/executor/executortest"
)

// files writes the parts of a document.
func files(t *testing.T, parts map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range parts {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, "api.yaml")
}

// sink takes what is published over HTTP, as "path content-type body".
func sink(t *testing.T) (address string, taken *[]string) {
	t.Helper()
	taken = new([]string)
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body := make([]byte, 100)
		n, _ := r.Body.Read(body)
		*taken = append(*taken, fmt.Sprintf("%s %s %s", r.URL.Path, r.Header.Get("Content-Type"), body[:n]))
	}))
	t.Cleanup(s.Close)
	return strings.TrimPrefix(s.URL, "http://"), taken
}

// parts is a document in six files; each names others from where it stands.
func parts(address string) map[string]string {
	return map[string]string{
		"api.yaml": `asyncapi: 3.0.0
info: {title: parts, version: 1.0.0}
servers: {$ref: 'servers/all.json'}
channels: {$ref: 'shop/channels.yaml#/all'}
operations: {talk: {$ref: ./shop/talk%20here.yaml}}
`,
		"servers/all.json":        `{"main": {"host": "{host}", "protocol": "http", "variables": {"host": {"$ref": "#/x~1y"}}}, "x/y": {"default": "` + address + `"}}`,
		"shop/talk here.yaml":     "action: send\nchannel: {$ref: 'channels.yaml#/all/orders'}\nmessages: [{$ref: messages.yaml#/list/1}]\n",
		"shop/channels.yaml":      "all:\n  orders:\n    address: orders/{who}\n    servers: [{$ref: ../servers/all.json#/main}]\n    parameters: {who: {$ref: '../deep/er/parameters.yaml'}}\n",
		"shop/messages.yaml":      "list: [{}, {contentType: text/plain, payload: {$ref: 'https://nobody.invalid/never-asked-for'}}]\n",
		"deep/er/parameters.yaml": "default: ann\n",
	}
}

// DSL 73, 201: a document may be in several files, by path and by http.
func TestDocumentOfParts(t *testing.T) {
	address, taken := sink(t)
	said := call(files(t, parts(address)), "message", object{"payload": "hello"})
	if _, err := newExecutor(t).Execute(t.Context(), request(t, said)); err != nil {
		t.Fatal(err)
	}
	var asked []string
	far := "" // another server
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, _, _ := r.BasicAuth()
		asked = append(asked, user+" "+r.URL.Path)
		all := parts(address)
		all["far.yaml"] = "asyncapi: 3.0.0\noperations: {talk: {channel: {$ref: '" + far + "/c.json'}}}\n"
		text, there := all[strings.TrimPrefix(r.URL.Path, "/v1/")]
		if !there {
			w.WriteHeader(http.StatusNotFound)
		}
		_, _ = w.Write([]byte(text))
	}))
	t.Cleanup(web.Close)
	endpoint := object{"uri": web.URL + "/v1/api.yaml", "authentication": object{"basic": object{"username": "ann", "password": "p"}}}
	said["document"] = object{"endpoint": endpoint}
	if _, err := newExecutor(t).Execute(t.Context(), request(t, said)); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"/orders/ann text/plain hello", "/orders/ann text/plain hello"}, *taken); d != "" {
		t.Error(d)
	}
	want := []string{"ann /v1/api.yaml", "ann /v1/servers/all.json", "ann /v1/shop/talk here.yaml", "ann /v1/shop/channels.yaml", "ann /v1/shop/messages.yaml", "ann /v1/deep/er/parameters.yaml"}
	sorted := cmp.Transformer("set", func(l []string) map[string]bool {
		m := map[string]bool{}
		for _, x := range l {
			m[x] = true
		}
		return m
	})
	if d := cmp.Diff(want, asked, sorted); d != "" || len(asked) != len(want) {
		t.Errorf("asked for %v: %s", asked, d)
	}

	// Who authenticates at one server does not at another.
	var elsewhere []string
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		elsewhere = append(elsewhere, r.Header.Get("Authorization"))
		_, _ = fmt.Fprintf(w, `{"address": "other", "servers": [{"$ref": %q}]}`, web.URL+"/v1/servers/all.json#/main")
	}))
	t.Cleanup(other.Close)
	far = other.URL
	endpoint["uri"] = web.URL + "/v1/far.yaml"
	if _, err := newExecutor(t).Execute(t.Context(), request(t, said)); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{""}, elsewhere); d != "" {
		t.Error(d)
	}
	if last := (*taken)[len(*taken)-1]; !strings.HasPrefix(last, "/other ") {
		t.Errorf("got %s", last)
	}
}

// DSL 73: references that lead nowhere say so, and name the file in which they stand.
func TestReferencesThatLeadNowhere(t *testing.T) {
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/spy":
			_, _ = w.Write([]byte("asyncapi: 3.0.0\noperations: {talk: {$ref: 'file:///etc/hostname'}}\n"))
		case "/busy":
			w.WriteHeader(http.StatusServiceUnavailable)
		default: // each one leads to the next
			_, _ = fmt.Fprintf(w, `{"$ref": "%sx"}`, r.URL.Path)
		}
	}))
	t.Cleanup(web.Close)
	api := func(talk string) object {
		return call(files(t, map[string]string{"api.yaml": "asyncapi: 3.0.0\noperations: {talk: {$ref: '" + talk + "'}}\nmore: " + strings.Repeat("x", 1000)}), "message", object{"payload": 1})
	}
	for name, c := range map[string]struct {
		arguments object
		status    int
		says      string
	}{
		"no file":       {api("no.yaml"), 400, `api.yaml refers to "no.yaml": there is no file `},
		"nothing there": {api("#/components/operations/talk"), 400, `api.yaml refers to "#/components/operations/talk", where there is nothing; instead of "components" there is [asyncapi, more, operations]`},
		"itself":        {api("#/operations/talk"), 400, "a reference that leads to itself"},
		"no uri":        {api("%zz"), 400, `refers to "%zz", which is no URI`},
		"mail":          {api("mailto:ann@example.com"), 400, "it may refer to files and to what is under http and https"},
		"no yaml":       {call(files(t, map[string]string{"api.yaml": "asyncapi: 3.0.0\noperations: {$ref: b.yaml}", "b.yaml": "a: [\n"}), "message", object{"payload": 1}), 400, "b.yaml, to which "},
		"endless":       {api(web.URL + "/x"), 400, "leads to itself"},
		"busy":          {api(web.URL + "/busy"), 503, `api.yaml refers to "` + web.URL + `/busy": `},
		"a spy":         {call(web.URL+"/spy", "message", object{"payload": 1}), 400, `refers to the file "file:///etc/hostname"; what comes over the network may refer to http and https only`},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := newExecutor(t).Execute(t.Context(), request(t, c.arguments))
			if p := executortest.CheckProblem(t, err); p.Status != c.status || !strings.Contains(p.Detail, c.says) {
				t.Errorf("got %v; want %d %q", p, c.status, c.says)
			}
		})
	}
}

// A document is not a way to read any number of files, or bytes.
func TestReferencesAreBounded(t *testing.T) {
	many := map[string]string{"api.yaml": "asyncapi: 3.0.0\noperations: {talk: {channel: {address: c, servers: ["}
	for i := range 60 {
		file := fmt.Sprintf("s%d.yaml", i)
		many["api.yaml"] += "{$ref: " + file + "}, "
		many[file] = "host: h\nprotocol: sns\n"
	}
	many["api.yaml"] += "]}}}\n"
	large := map[string]string{"api.yaml": "asyncapi: 3.0.0\noperations: {talk: {channel: {address: c, servers: [{$ref: s0.yaml}, {$ref: s1.yaml}, {$ref: s2.yaml}]}}}"}
	for i := range 3 {
		large[fmt.Sprintf("s%d.yaml", i)] = `{"host": "h", "protocol": "sns", "description": "` + strings.Repeat("x", 7<<20) + `"}`
	}
	for says, parts := range map[string]map[string]string{"more than 50 files": many, "16777216 bytes together": large} {
		_, err := newExecutor(t).Execute(t.Context(), request(t, call(files(t, parts), "message", object{"payload": 1})))
		if p := executortest.CheckProblem(t, err); p.Status != 400 || !strings.Contains(p.Detail, says) {
			t.Errorf("got %v; want %q", p, says)
		}
	}
}
