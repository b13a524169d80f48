package http_test

import (
	"bytes"
	"encoding/json"
	"io"
	nethttp "net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/executor"
	"github.com/downbeat-dev/downbeat/internal/executor/executortest"
	"github.com/downbeat-dev/downbeat/internal/executor/http"
	"github.com/downbeat-dev/downbeat/internal/outbound"
)

type object = map[string]any

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// bundle is a server that records what it gets, and an executor to call it.
type bundle struct {
	*http.Executor
	url    string
	client *outbound.Client
	mu     sync.Mutex // for tests with several calls at once
	// What the last request was.
	method, uri, body string
	header            nethttp.Header
	host              string
}

func setup(t *testing.T, answer nethttp.HandlerFunc) *bundle {
	t.Helper()
	b := &bundle{}
	server := httptest.NewServer(nethttp.HandlerFunc(func(w nethttp.ResponseWriter, r *nethttp.Request) {
		body, _ := io.ReadAll(r.Body)
		b.mu.Lock()
		b.method, b.uri, b.body, b.header, b.host = r.Method, r.URL.RequestURI(), string(body), r.Header, r.Host
		b.mu.Unlock()
		if answer != nil {
			answer(w, r)
		}
	}))
	client, err := outbound.New(outbound.Config{})
	if err != nil {
		t.Fatal(err)
	}
	b.client, b.url, b.Executor = client, server.URL, http.New(client, "1.2.3")
	t.Cleanup(func() {
		client.CloseIdleConnections()
		server.Close()
	})
	return b
}

func (b *bundle) call(t *testing.T, arguments object) (any, error) {
	t.Helper()
	if _, ok := arguments["endpoint"]; !ok {
		arguments["endpoint"] = b.url
	}
	if _, ok := arguments["method"]; !ok {
		arguments["method"] = "get"
	}
	r, log := executortest.Request(t, "http", arguments)
	r.Traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	r.Secrets = executortest.Secrets{"pass": object{"username": "aladdin", "password": "opensesame"}}
	result, err := b.Execute(t.Context(), r)
	log.Close()
	return result.Output, err
}

func (b *bundle) fails(t *testing.T, arguments object, family string, status int, detail string) *event.Problem {
	t.Helper()
	_, err := b.call(t, arguments)
	p := executortest.CheckProblem(t, err)
	if p.Type != event.TypePrefix+family || p.Status != status || !strings.Contains(p.Detail, detail) {
		t.Errorf("%v: got %s/%d %q; want %s/%d with %q", arguments, p.Type, p.Status, p.Detail, family, status, detail)
	}
	return p
}

func TestLaws(t *testing.T) {
	hanging := make(chan struct{}, 1)
	b := setup(t, func(w nethttp.ResponseWriter, r *nethttp.Request) {
		switch r.URL.Path {
		case "/hang":
			hanging <- struct{}{}
			<-r.Context().Done()
		case "/fail":
			w.WriteHeader(503)
		}
	})
	executortest.Exercise(t, executortest.Subject{
		Executor: b.Executor,
		Kind:     "http",
		Works:    object{"method": "POST", "endpoint": object{"uri": b.url}, "headers": object{"A": "b"}, "query": object{"q": 1}, "body": object{"x": 1}, "output": "response"},
		Fails:    object{"method": "GET", "endpoint": b.url + "/fail"},
		Hangs:    object{"method": "GET", "endpoint": b.url + "/hang"},
		Hanging:  hanging,
	})
}

// DSL 58, DSL 59, DSL 60, DSL 61
func TestRequest(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	if _, err := b.call(t, object{
		"method": "pOsT", "endpoint": object{"uri": b.url + "/p%20q?a=1&z=%2B#f"},
		"headers": object{"X-A": "v", "X-Many": []any{"1", 2}, "X-N": 3, "X-Null": nil, "host": "other.example"},
		"query":   object{"b": "x y", "c": []any{1, true}, "d": nil, "e": ""},
		"body":    object{"k": []any{1, nil}},
	}); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff("POST /p%20q?a=1&z=%2B&b=x+y&c=1&c=true&e= other.example", b.method+" "+b.uri+" "+b.host); d != "" {
		t.Error(d)
	}
	want := nethttp.Header{
		"X-A": {"v"}, "X-Many": {"1", "2"}, "X-N": {"3"},
		"Content-Type": {"application/json"}, "Content-Length": {"14"}, "Accept-Encoding": {"gzip"},
		"User-Agent": {"downbeat/1.2.3"}, "Idempotency-Key": {"key-TestRequest"},
		"Traceparent": {"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"},
	}
	if d := cmp.Diff(want, b.header); d != "" {
		t.Error(d)
	}
	// What may not change anything has no key; the author's headers win.
	for _, method := range []string{"get", "HEAD", "Options"} {
		if _, err := b.call(t, object{"method": method, "headers": object{"user-agent": "mine"}}); err != nil {
			t.Fatal(err)
		}
		if b.header.Get("Idempotency-Key") != "" || b.header.Get("User-Agent") != "mine" || b.header.Get("Content-Type") != "" {
			t.Errorf("%s: %v", method, b.header)
		}
	}
	if _, err := b.call(t, object{"method": "DELETE", "headers": object{"idempotency-key": "mine"}}); err != nil || b.header.Get("Idempotency-Key") != "mine" {
		t.Errorf("%v %v", b.header, err)
	}
}

// DSL 62
func TestRequestBody(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	for _, c := range []struct {
		body                      any
		contentType, want, wantTo string
	}{
		{object{"a": 1}, "", `{"a":1}`, "application/json"},
		{[]any{1, "x"}, "", `[1,"x"]`, "application/json"},
		{5, "", `5`, "application/json"},
		{false, "", `false`, "application/json"},
		{"text é", "", `text é`, "text/plain; charset=utf-8"},
		{"text", "application/json", `"text"`, "application/json"},
		{object{"a": 1}, "application/merge-patch+json; charset=utf-8", `{"a":1}`, "application/merge-patch+json; charset=utf-8"},
		{object{"a": "x y", "b": []any{1, 2}, "c": nil}, "application/x-www-form-urlencoded", `a=x+y&b=1&b=2`, "application/x-www-form-urlencoded"},
		{"a=1&b=2", "application/x-www-form-urlencoded", `a=1&b=2`, "application/x-www-form-urlencoded"},
		{"<a/>", "application/xml", `<a/>`, "application/xml"},
		{7, "text/plain", `7`, "text/plain"},
		{[]any{1, object{"a": 2}}, "application/x-ndjson", "1\n{\"a\":2}\n", "application/x-ndjson"},
		{nil, "", "", ""},
	} {
		h := object{}
		if c.contentType != "" {
			h["content-type"] = c.contentType
		}
		if _, err := b.call(t, object{"method": "POST", "body": c.body, "headers": h}); err != nil {
			t.Errorf("%v: %v", c.body, err)
		}
		if d := cmp.Diff([]string{c.want, c.wantTo}, []string{b.body, b.header.Get("Content-Type")}); d != "" {
			t.Errorf("%v: %s", c.body, d)
		}
	}
	b.fails(t, object{"method": "POST", "body": object{}, "headers": object{"Content-Type": "text/xml"}}, event.Configuration, 400, "must be text")
	b.fails(t, object{"method": "POST", "body": []any{}, "headers": object{"Content-Type": "application/x-www-form-urlencoded"}}, event.Configuration, 400, "a form is an object")
}

// DSL 63
func TestContent(t *testing.T) {
	t.Parallel()
	var contentType, body string
	b := setup(t, func(w nethttp.ResponseWriter, _ *nethttp.Request) {
		w.Header()["Content-Type"] = nil
		if contentType != "" {
			w.Header().Set("Content-Type", contentType)
		}
		_, _ = io.WriteString(w, body)
	})
	for _, c := range []struct {
		contentType, body string
		want              any
	}{
		{"application/json", `{"a":[1,2.5,null,12345678901234567890]}`, nil},
		{"application/json; charset=utf-8", "\ufeff[1]", []any{1}},
		{"application/hal+json", `"x"`, "x"},
		{"application/problem+json", `{"title":"t"}`, object{"title": "t"}},
		{"application/json", "", nil},
		{"application/json", " \n", nil},
		{"application/x-ndjson", "1\n{\"a\":2}\n\n", []any{1, object{"a": 2}}},
		{"text/plain", "text", "text"},
		{"text/plain; charset=ISO-8859-1", "caf\xe9", "café"},
		{"text/html; charset=utf-8", "<p>é", "<p>é"},
		{"application/xml", "<a/>", "<a/>"},
		{"image/svg+xml", "<svg/>", "<svg/>"},
		{"application/yaml", "a: 1", "a: 1"},
		{"application/octet-stream", "\x00\xff", "AP8="},
		{"image/png", "abc", "YWJj"},
		{"", "plain", "plain"},
		{"", "\xff", "/w=="},
		{"broken;;;", "abc", "YWJj"},
	} {
		contentType, body = c.contentType, c.body
		got, err := b.call(t, object{})
		if err != nil {
			t.Errorf("%q: %v", c, err)
		}
		if c.want == nil && body != "" && strings.TrimSpace(body) != "" {
			var js, have bytes.Buffer
			_ = json.Compact(&js, []byte(body))
			_ = json.NewEncoder(&have).Encode(got)
			if d := cmp.Diff(js.String()+"\n", have.String()); d != "" {
				t.Errorf("%q: %s", c, d)
			}
			continue
		}
		if d := cmp.Diff(c.want, got); d != "" {
			t.Errorf("%q: %s", c, d)
		}
	}
	contentType, body = "application/json", `{"a":1`
	if got, err := b.call(t, object{"output": "raw"}); got != "eyJhIjox" || err != nil {
		t.Errorf("raw: %v, %v", got, err)
	}
	b.fails(t, object{}, event.Communication, 500, "not what its Content-Type says")
}

// DSL 64
func TestResponse(t *testing.T) {
	t.Parallel()
	b := setup(t, func(w nethttp.ResponseWriter, _ *nethttp.Request) {
		w.Header()["Date"] = nil
		w.Header().Add("X-Many", "1")
		w.Header().Add("X-Many", "2")
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(201)
		_, _ = io.WriteString(w, `{"ok":true}`)
	})
	got, err := b.call(t, object{
		"method": "put", "endpoint": object{"uri": b.url + "/x?q=1", "authentication": object{"basic": object{"use": "pass"}}},
		"output": "response", "body": "b", "headers": object{"A": "1"},
	})
	if err != nil {
		t.Fatal(err)
	}
	if b.header.Get("Authorization") != "Basic YWxhZGRpbjpvcGVuc2VzYW1l" {
		t.Errorf("authorization %q", b.header.Get("Authorization"))
	}
	want := object{
		"request": object{"method": "PUT", "uri": b.url + "/x?q=1", "headers": object{
			"A": "1", "Authorization": "Basic ***", "Content-Type": "text/plain; charset=utf-8", "Idempotency-Key": "key-TestResponse",
			"Traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "User-Agent": "downbeat/1.2.3",
		}},
		"statusCode": 201,
		"headers":    object{"Content-Type": "application/json", "X-Many": "1, 2", "Content-Length": "11"},
		"content":    object{"ok": true},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

// DSL 65, D31
func TestRedirect(t *testing.T) {
	t.Parallel()
	var other string
	b := setup(t, func(w nethttp.ResponseWriter, r *nethttp.Request) {
		status, _ := strconv.Atoi(r.URL.Query().Get("status"))
		switch r.URL.Path {
		case "/to":
			nethttp.Redirect(w, r, "/end", status)
		case "/away":
			nethttp.Redirect(w, r, other+"/end", nethttp.StatusTemporaryRedirect)
		case "/circle":
			nethttp.Redirect(w, r, "/circle", nethttp.StatusFound)
		case "/bare":
			w.WriteHeader(status)
		case "/end":
			_, _ = io.WriteString(w, "end")
		}
	})
	foreign := setup(t, nil)
	other = strings.Replace(foreign.url, "127.0.0.1", "localhost", 1)
	for status, method := range map[int]string{301: "GET", 302: "GET", 303: "GET", 307: "POST", 308: "POST"} {
		uri := b.url + "/to?status=" + strconv.Itoa(status)
		p := b.fails(t, object{"method": "POST", "endpoint": uri, "body": "data"}, event.Communication, status, "redirect: true")
		if strings.Contains(p.Detail, "status=") {
			t.Errorf("the query shows in %q", p.Detail)
		}
		got, err := b.call(t, object{"method": "POST", "endpoint": uri, "body": "data", "redirect": true})
		if got != "end" || err != nil || b.method != method {
			t.Errorf("%d: %v, %v, by %s; want by %s", status, got, err, b.method, method)
		}
		if wantBody := map[string]string{"POST": "data"}[method]; b.body != wantBody {
			t.Errorf("%d: body %q", status, b.body)
		}
	}
	for _, status := range []int{300, 302, 304, 399} {
		uri := b.url + "/bare?status=" + strconv.Itoa(status)
		b.fails(t, object{"endpoint": uri}, event.Communication, status, "answered "+strconv.Itoa(status))
		if got, err := b.call(t, object{"endpoint": uri, "redirect": true}); got != nil || err != nil {
			t.Errorf("%d: %v, %v", status, got, err)
		}
	}
	b.fails(t, object{"endpoint": b.url + "/circle", "redirect": true}, event.Communication, 302, "more than 10 times")
	// Credentials do not travel to another host.
	if _, err := b.call(t, object{
		"endpoint": object{"uri": b.url + "/away", "authentication": object{"basic": object{"use": "pass"}}}, "redirect": true, "headers": object{"Cookie": "c=1"},
	}); err != nil {
		t.Fatal(err)
	}
	if foreign.header == nil || foreign.header.Get("Authorization") != "" || foreign.header.Get("Cookie") != "" {
		t.Errorf("the other host got %v", foreign.header)
	}
}

// DSL 66, DSL 150
func TestStatusProblem(t *testing.T) {
	t.Parallel()
	var status int
	var contentType, body string
	b := setup(t, func(w nethttp.ResponseWriter, _ *nethttp.Request) {
		w.Header().Set("Content-Type", contentType)
		w.Header().Set("Retry-After", "7")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	})
	check := func(wantTitle, wantDetail string, wantMore object) {
		t.Helper()
		uri := strings.Replace(b.url, "http://", "http://user:hunter2@", 1) + "/p?token=hunter2"
		_, err := b.call(t, object{"endpoint": uri})
		want := event.Problem{
			Type: "https://open-workflow-specification.org/spec/1.0.0/errors/communication", Status: status,
			Title: wantTitle, Detail: strings.ReplaceAll(wantDetail, "URL", b.url), More: wantMore,
		}
		if d := cmp.Diff(want, *executortest.CheckProblem(t, err)); d != "" {
			t.Error(d)
		}
	}
	status, contentType, body = 404, "text/plain", "no such thing"
	check("Not Found", "GET URL/p?… answered 404", object{"retryAfter": "7", "body": "no such thing"})
	status, contentType, body = 409, "application/problem+json", `{"title":"Out of stock","detail":"None left","status":409}`
	check("Out of stock", "GET URL/p?… answered 409: None left", object{"retryAfter": "7", "body": body})
	status, contentType, body = 500, "application/octet-stream", "\xff\xff"
	check("Internal Server Error", "GET URL/p?… answered 500", object{"retryAfter": "7"})
	status, contentType, body = 599, "application/problem+json", `["not","an object"`
	check("Unexpected status", "GET URL/p?… answered 599", object{"retryAfter": "7", "body": body})
	status, contentType, body = 503, "text/html", strings.Repeat("é", 2000)
	check("Service Unavailable", "GET URL/p?… answered 503", object{"retryAfter": "7", "body": strings.Repeat("é", 1024) + "…"})
}

// DSL 67
func TestBadRequests(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	for detail, arguments := range map[string]object{
		"/method is missing":                     {"method": nil},
		"method \"GE T\"":                        {"method": "GE T"},
		"is relative":                            {"endpoint": "/path"},
		"\"example.com/x\" is relative":          {"endpoint": "example.com/x"},
		"names no host":                          {"endpoint": "http:///x"},
		"scheme \"ftp\"":                         {"endpoint": "ftp://h/x"},
		"is no URI":                              {"endpoint": "http://user:hunter2@[::1/"},
		"/endpoint must be":                      {"endpoint": 5},
		"/endpoint/uri is missing":               {"endpoint": object{}},
		"/query must be an object":               {"query": "a=b"},
		"\"a b\" is no name of a header":         {"headers": object{"a b": "x"}},
		"value of X holds a line break":          {"headers": object{"X": "a\r\nY: b"}},
		"content, raw, response":                 {"output": "json"},
		"/redirect must be true or false":        {"redirect": "yes"},
		"/boddy is not known here":               {"boddy": 1},
		"exactly one of basic":                   {"endpoint": object{"uri": b.url, "authentication": object{}}},
		"authentication.oauth2 has no authority": {"endpoint": object{"uri": b.url, "authentication": object{"oauth2": object{}}}},
		"has no username; it has [user]":         {"endpoint": object{"uri": b.url, "authentication": object{"basic": object{"user": "hunter2"}}}},
	} {
		p := b.fails(t, arguments, event.Configuration, 400, detail)
		if strings.Contains(p.Detail, "hunter2") {
			t.Errorf("a password shows in %q", p.Detail)
		}
		if b.method != "" {
			t.Errorf("%s: a request was sent", detail)
		}
	}
	b.fails(t, object{"endpoint": object{"uri": b.url, "authentication": object{"bearer": object{"use": "absent"}}}}, event.Forbidden, 403, "absent")
	if found := b.Check(object{"method": "GET"}); len(found) != 1 || !strings.Contains(found[0], "/endpoint is missing") {
		t.Errorf("Check found %q", found)
	}
}

// DSL 166
func TestAuthorization(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	for _, wanted := range []bool{false, true} {
		r, _ := executortest.Request(t, "http", object{"method": "GET", "endpoint": object{"uri": b.url, "authentication": object{"bearer": object{"token": "t0ken"}}}})
		r.WantsAuthorization = wanted
		result, err := b.Execute(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		var want *event.Authorization
		if wanted {
			want = &event.Authorization{Scheme: "Bearer", Parameter: "t0ken"}
		}
		if d := cmp.Diff(want, result.Authorization); d != "" {
			t.Error(d)
		}
	}
}

func TestConnectionsAreReused(t *testing.T) {
	t.Parallel()
	b := setup(t, func(w nethttp.ResponseWriter, _ *nethttp.Request) { _, _ = io.WriteString(w, "x") })
	reused := 0
	for range 5 {
		r, _ := executortest.Request(t, "http", object{"method": "GET", "endpoint": b.url})
		ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{GotConn: func(i httptrace.GotConnInfo) {
			if i.Reused {
				reused++
			}
		}})
		if _, err := b.Execute(ctx, r); err != nil {
			t.Fatal(err)
		}
	}
	if reused != 4 {
		t.Errorf("%d of 5 calls reused a connection; want 4", reused)
	}
}

func TestKindDescribesItself(t *testing.T) {
	t.Parallel()
	kind := http.Kind()
	if _, err := executor.NewCatalog(executor.Entry{Kind: kind, Executor: &http.Executor{}}); err != nil {
		t.Fatal(err)
	}
	schema, _ := kind.Schema.(object)
	if d := cmp.Diff([]any{"method", "endpoint"}, schema["required"]); d != "" {
		t.Error(d)
	}
}
