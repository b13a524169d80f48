package openapi_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/executor"
	"github.com/downbeat-dev/downbeat/internal/executor/executortest"
	"github.com/downbeat-dev/downbeat/internal/executor/openapi"
	"github.com/downbeat-dev/downbeat/internal/outbound"
)

type object = map[string]any

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// service serves its document at /openapi, and echoes all else.
type service struct {
	*openapi.Executor
	*httptest.Server
	document string
	asked    atomic.Int64 // for the document
	hanging  chan struct{}
}

func setup(t *testing.T, document string) *service {
	t.Helper()
	s := &service{document: document, hanging: make(chan struct{}, 100)}
	quit := make(chan struct{})
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/openapi":
			s.asked.Add(1)
			if user, _, _ := r.BasicAuth(); r.URL.RawQuery == "private" && user != "reader" {
				w.WriteHeader(401)
				return
			}
			w.Header().Set("ETag", `"1"`)
			if r.Header.Get("If-None-Match") == `"1"` {
				w.WriteHeader(304)
				return
			}
			_, _ = io.WriteString(w, strings.ReplaceAll(s.document, "HOST", strings.TrimPrefix(s.URL, "http://")))
		case "/hang":
			s.hanging <- struct{}{}
			select {
			case <-r.Context().Done():
			case <-quit:
			}
		case "/moved":
			http.Redirect(w, r, "/v1/text", http.StatusTemporaryRedirect)
		case "/fail":
			w.WriteHeader(418)
		default:
			echo(w, r)
		}
	}))
	client, err := outbound.New(outbound.Config{})
	if err != nil {
		t.Fatal(err)
	}
	s.Executor = openapi.New(client, "1.2.3")
	t.Cleanup(func() {
		close(quit)
		client.CloseIdleConnections()
		s.Close()
	})
	return s
}

// echo answers with the request; forms with parts are taken apart.
func echo(w http.ResponseWriter, r *http.Request) {
	got := object{"request": r.Method + " " + r.RequestURI}
	for _, h := range []string{"Api_key", "X-List", "X-Object", "Cookie", "Accept", "Authorization", "Content-Type"} {
		if v := r.Header.Get(h); v != "" && (h != "Accept" || v != "*/*;q=0.1") {
			got[h] = v
		}
	}
	if strings.HasPrefix(r.Header.Get("Content-Type"), "multipart/") {
		delete(got, "Content-Type")
		parts := []any{}
		reader, err := r.MultipartReader()
		if err != nil {
			panic(err)
		}
		for {
			p, err := reader.NextPart()
			if err != nil {
				break
			}
			b, _ := io.ReadAll(p)
			parts = append(parts, strings.Join([]string{p.FormName(), p.FileName(), p.Header.Get("Content-Type"), string(b)}, "|"))
		}
		got["parts"] = parts
	} else if b, _ := io.ReadAll(r.Body); len(b) > 0 {
		got["body"] = string(b)
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(got)
}

func (s *service) call(t *testing.T, operation string, parameters object, more ...any) (any, error) {
	t.Helper()
	arguments := object{"document": object{"endpoint": s.URL + "/openapi"}, "operationId": operation, "parameters": parameters}
	for i := 0; i+1 < len(more); i += 2 {
		arguments[more[i].(string)] = more[i+1]
	}
	r, log := executortest.Request(t, "openapi", arguments)
	r.Secrets = executortest.Secrets{"reader": object{"username": "reader", "password": "p"}}
	r.BaseDirectory = t.TempDir()
	if err := os.WriteFile(filepath.Join(r.BaseDirectory, "api.yaml"), []byte(strings.ReplaceAll(s.document, "HOST", strings.TrimPrefix(s.URL, "http://"))), 0o600); err != nil {
		t.Fatal(err)
	}
	result, err := s.Execute(t.Context(), r)
	log.Close()
	return result.Output, err
}

func testdata(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func fault(t *testing.T, err error, family string, status int, detail string) {
	t.Helper()
	p, ok := errors.AsType[*event.Problem](err)
	if !ok {
		t.Fatalf("got %T %v; want a problem with %q", err, err, detail)
	}
	if p.Type != event.TypePrefix+family || p.Status != status || !strings.Contains(p.Detail, detail) {
		t.Errorf("got %s/%d %q; want %s/%d with %q", p.Type, p.Status, p.Detail, family, status, detail)
	}
}

const form = "application/x-www-form-urlencoded"

// DSL 71, DSL 72: a service that Swagger 2.0 describes.
func TestSwagger(t *testing.T) {
	t.Parallel()
	s := setup(t, testdata(t, "petstore.json"))
	accept := "application/json, application/xml, */*;q=0.1"
	for _, x := range []struct {
		operation  string
		parameters object
		want       object
	}{
		{
			"findPetsByStatus",
			object{"status": []any{"available", "so ld"}, "csv": []any{1, 2}, "ssv": []any{"a", "b"}, "tsv": []any{"a", "b"}, "pipes": []any{"a", "b"}},
			object{"request": "GET /v2/pet/findByStatus?status=available&status=so%20ld&csv=1,2&ssv=a%20b&tsv=a%09b&pipes=a%7Cb"},
		},
		{"findPetsByStatus", object{"status": "available"}, object{"request": "GET /v2/pet/findByStatus?status=available"}},
		{"getPetById", object{"petId": 7, "API_KEY": "k"}, object{"request": "GET /v2/pet/7", "Api_key": "k"}},
		{"deletePet", object{"petId": "a/b?c", "api_key": "k"}, object{"request": "DELETE /v2/pet/a%2Fb%3Fc", "Api_key": "k"}},
		{"addPet", object{"name": "Rex", "tags": []any{1}}, object{"request": "POST /v2/pet", "body": `{"name":"Rex","tags":[1]}`, "Content-Type": "application/json"}},
		{"addPet", object{"pet": object{"name": "Rex"}}, object{"request": "POST /v2/pet", "body": `{"name":"Rex"}`, "Content-Type": "application/json"}},
		{"addPet", object{"body": []any{1}}, object{"request": "POST /v2/pet", "body": `[1]`, "Content-Type": "application/json"}},
		{"updatePetWithForm", object{"petId": 1, "name": "R & x", "tags": []any{"a", "b"}}, object{"request": "POST /v2/pet/1", "body": "name=R%20%26%20x&tags=a,b", "Content-Type": form}},
		{"uploadFile", object{"petId": 1, "additionalMetadata": "note", "file": "aGk="}, object{"request": "POST /v2/pet/1/uploadImage", "parts": []any{"additionalMetadata|||note", "file|file|application/octet-stream|hi"}}},
		{"uploadFile", object{"petId": 1, "file": object{"content": "aGk=", "filename": "x.png", "contentType": "image/png"}}, object{"request": "POST /v2/pet/1/uploadImage", "parts": []any{"file|x.png|image/png|hi"}}},
	} {
		x.want["Accept"] = accept
		got, err := s.call(t, x.operation, x.parameters)
		if d := cmp.Diff(any(x.want), got); err != nil || d != "" {
			t.Errorf("%s %v: %v\n%s", x.operation, x.parameters, err, d)
		}
	}
	_, err := s.call(t, "findPetsByStatus", nil)
	fault(t, err, event.Validation, 400, "operation findPetsByStatus (GET /pet/findByStatus) needs status (in query)")
	_, err = s.call(t, "uploadFile", object{"petId": nil})
	fault(t, err, event.Validation, 400, "needs petId (in path) and file (in the form)")
	_, err = s.call(t, "addPet", nil)
	fault(t, err, event.Validation, 400, "needs pet (the request's body)")
	_, err = s.call(t, "getPetByID", nil)
	fault(t, err, event.Configuration, 400, `has no operation "getPetByID"; did you mean getPetById?`)
	_, err = s.call(t, "somethingElse", nil)
	fault(t, err, event.Configuration, 400, "it has addPet, findPetsByStatus, getPetById")
	_, err = s.call(t, "getPetById", object{"petId": 1, "colour": "red"})
	fault(t, err, event.Configuration, 400, `operation getPetById has no parameter "colour", it has [petId]`)
	_, err = s.call(t, "getPetById", object{"petId": ".."})
	fault(t, err, event.Validation, 400, `the path parameter petId is ".."`)
	_, err = s.call(t, "uploadFile", object{"petId": 1, "file": "not base64!"})
	fault(t, err, event.Configuration, 400, "file is a file, so it must be text in base64")
	_, err = s.call(t, "deletePet", object{"petId": 1, "api_key": "a\nb"})
	fault(t, err, event.Configuration, 400, "control character")
}

// DSL 71, DSL 72: a service that OpenAPI 3.1 describes.
func TestOpenAPI(t *testing.T) {
	t.Parallel()
	s := setup(t, testdata(t, "service.yaml"))
	list, obj := []any{"x", "y z"}, object{"k": "v", "n": 1, "none": nil}
	for _, x := range []struct {
		operation  string
		parameters object
		want       object
	}{
		{"segments", object{"a": list, "b": list, "c": list}, object{"request": "GET /v1/simple/x,y%20z/.x.y%20z/;c=x,y%20z"}},
		{"segments", object{"a": obj, "b": obj, "c": obj, "version": "v2"}, object{"request": "GET /v2/simple/k,v,n,1/.k=v.n=1/;c=k,v,n,1"}},
		{"segments", object{"a": true, "b": 1.5, "c": ""}, object{"request": "GET /v1/simple/true/.1.5/;c"}},
		{"exploded", object{"a": obj, "b": list, "c": list}, object{"request": "GET /v1/explodek=v,n=1.x,y%20z;c=x;c=y%20z"}},
		{"exploded", object{"a": 1, "b": obj, "c": obj}, object{"request": "GET /v1/explode1.k,v,n,1;k=v;n=1"}},
		{
			"queries",
			object{"form": list, "flat": list, "space": list, "pipe": list, "deep": object{"a": object{"b": 1}, "l": list}, "free": "a/b?c=d&e#f%20", "filter": obj},
			object{"request": "GET /other/query?fixed=1&key=1&form=x&form=y%20z&flat=x,y%20z&space=x%20y%20z&pipe=x%7Cy%20z&deep%5Ba%5D%5Bb%5D=1&deep%5Bl%5D=x&deep%5Bl%5D=y%20z" +
				"&free=a/b?c=d%26e%23f%20&filter=%7B%22k%22%3A%22v%22%2C%22n%22%3A1%2C%22none%22%3Anull%7D&version=2024-01-01"},
		},
		{
			"queries",
			object{"form": obj, "flat": obj, "odd": "o", "version": "v", "x-list": list, "X-Object": obj, "session": "a;b", "prefs": list},
			object{"request": "GET /other/query?fixed=1&key=1&k=v&n=1&flat=k,v,n,1&version=v&odd=o", "X-List": "x,y z", "X-Object": "k=v,n=1", "Cookie": "session=a%3Bb; prefs=x,y%20z"},
		},
		{"forgotten", object{"id": "i"}, object{"request": "GET /v1/forgotten/i"}},
		{"create", object{"a": 1}, object{"request": "POST /v1/things", "body": `{"a":1}`, "Content-Type": "application/vnd.thing+json", "Accept": "application/json, application/problem+json, text/csv, */*;q=0.1"}},
		{"create", object{"body": "<x/>", "content-type": "text/xml", "Accept": "text/csv"}, object{"request": "POST /v1/things", "body": `<x/>`, "Content-Type": "text/xml", "Accept": "text/csv"}},
		{"removeAll", object{"body": object{"sure": true}}, object{"request": "DELETE /v1/things", "body": `{"sure":true}`, "Content-Type": "application/json"}},
		{"form", object{"a": list, "flat": list, "deep": object{"k": "v"}, "plain": object{"k": "v"}}, object{"request": "POST /v1/form", "body": "a=x&a=y%20z&deep%5Bk%5D=v&flat=x,y%20z&plain=%7B%22k%22%3A%22v%22%7D", "Content-Type": form}},
		{
			"upload",
			object{"picture": "aGk=", "files": []any{"YQ==", object{"content": "Yg==", "filename": "b.txt"}}, "note": "n", "raw": "cg==", "extra": object{"k": 1}},
			object{"request": "POST /v1/upload", "parts": []any{`extra||application/json|{"k":1}`, "files|files|application/octet-stream|a", "files|b.txt|application/octet-stream|b", "note|||n", "picture|picture|image/png|hi", "raw|raw|application/octet-stream|r"}},
		},
		{"text", object{"body": "hello"}, object{"request": "PUT /v1/text", "body": "hello", "Content-Type": "text/plain"}},
		{"text", object{"body": 5}, object{"request": "PUT /v1/text", "body": "5", "Content-Type": "text/plain"}},
		{"binary", object{"body": base64.StdEncoding.EncodeToString([]byte("\x00\xff"))}, object{"request": "PUT /v1/binary", "body": "\x00\ufffd", "Content-Type": "application/octet-stream"}},
		{"secured", object{"sid": "s", "token": "t"}, object{"request": "GET /v1/secured?token=t", "Cookie": "sid=s"}},
	} {
		got, err := s.call(t, x.operation, x.parameters)
		if d := cmp.Diff(any(x.want), got); err != nil || d != "" {
			t.Errorf("%s %v: %v\n%s", x.operation, x.parameters, err, d)
		}
	}
	for _, x := range []struct {
		operation    string
		parameters   object
		family, want string
	}{
		{"twice", nil, event.Configuration, "has the operation \"twice\" twice: GET /twice and PUT /twice"},
		{"broken", nil, event.Configuration, `is said to be at "#/components/parameters/gone", where there is nothing`},
		{"outside", nil, event.Configuration, `is in another document, "other.yaml#/x"; bundle them`},
		{"circle", nil, event.Configuration, "leads to itself"},
		{"wrong", nil, event.Configuration, "is no object but number"},
		{"forgotten", object{"id": "x", "version": "v3"}, event.Validation, "the server variable version is \"v3\""},
		{"forgotten", nil, event.Validation, "needs id (in path)"},
		{"upload", object{"body": "x"}, event.Configuration, "its body is a form, so it must be an object"},
		{"upload", nil, event.Validation, "needs body"},
		{"text", object{"body": []any{}}, event.Configuration, "its body is text/plain, so it must be text, not of type array"},
		{"binary", object{"body": "?"}, event.Configuration, "must be text in base64"},
		{"text", object{"body": "x", "Content-Type": "a/b\r\nX: y"}, event.Configuration, "is no media type"},
	} {
		_, err := s.call(t, x.operation, x.parameters)
		fault(t, err, x.family, 400, x.want)
	}
}

// DSL 201: where documents come from. D31: redirects.
func TestDocuments(t *testing.T) {
	t.Parallel()
	s := setup(t, testdata(t, "service.yaml"))
	for _, document := range []any{
		object{"endpoint": s.URL + "/openapi"},
		object{"endpoint": object{"uri": s.URL + "/openapi"}, "name": "n"},
		object{"endpoint": "api.yaml"},
		object{"endpoint": "file:api.yaml"},
		object{"endpoint": "file://./api.yaml"},
		object{"endpoint": object{"uri": s.URL + "/openapi?private", "authentication": object{"basic": object{"use": "reader"}}}},
	} {
		got, err := s.call(t, "forgotten", object{"id": 1}, "document", document, "authentication", object{"bearer": object{"token": "t"}})
		if d := cmp.Diff(any(object{"request": "GET /v1/forgotten/1", "Authorization": "Bearer t"}), got); err != nil || d != "" {
			t.Errorf("%v: %v\n%s", document, err, d)
		}
	}
	if n := s.asked.Load(); n != 2 { // the public one once, for the second time it is fresh; the private one
		t.Errorf("the document was asked for %d times", n)
	}
	_, err := s.call(t, "forgotten", nil, "document", object{"endpoint": s.URL + "/openapi?private"})
	fault(t, err, event.Communication, 401, "answered 401")
	_, err = s.call(t, "forgotten", nil, "document", object{"endpoint": "gone.yaml"})
	fault(t, err, event.Configuration, 400, "there is no file")
	_, err = s.call(t, "forgotten", nil, "document", object{"endpoint": "ftp://x/y"})
	fault(t, err, event.Configuration, 400, `scheme "ftp"`)
	_, err = s.call(t, "forgotten", nil, "document", "x")
	fault(t, err, event.Configuration, 400, "/document must be an object")
	for _, c := range []struct{ document, want string }{
		{"{", "cannot be read"},
		{"[1]", "it is no object but array"},
		{"a: [", "cannot be read"},
		{"a: 1", "neither swagger nor openapi"},
		{"openapi: 4.0.0\npaths: {}", "is of OpenAPI 4.0.0"},
		{"openapi: 3.0.0\npaths: {/a: {get: {operationId: a}}}", ""},
		{"openapi: 3.0.0", "none of its operations has"},
		{"openapi: 3.0.0\npaths: 7", "paths in the document"},
		{"openapi: 3.0.0\nservers: [{url: 'wss://x'}]\npaths: {/a: {get: {operationId: a}}}", "speaks wss"},
		{"a: &a [x, x, x, x, x, x, x, x, x]\nb: &b [*a, *a, *a, *a, *a, *a, *a, *a, *a]\nc: &c [*b, *b, *b, *b, *b, *b, *b, *b, *b]\nd: &d [*c, *c, *c, *c, *c, *c, *c, *c, *c]\n" +
			"e: &e [*d, *d, *d, *d, *d, *d, *d, *d, *d]\nf: &f [*e, *e, *e, *e, *e, *e, *e, *e, *e]\ng: [*f, *f, *f, *f, *f, *f, *f, *f, *f]", "too large"},
		{"paths: {/a: {get: {operationId: a}}}\nbasePath: x/\nhost: http://HOST/", ""},
		{"swagger: 2.0\npaths: {/a: {get: {operationId: a}}, /a: {get: {operationId: a}}}", ""},
		{"swagger: '2.0'\nhost: 127.0.0.1:1\npaths: {/a: {get: {operationId: a}}}", "connection refused"},
		{`{"openapi": "3.0.0", "paths": {"/a": {"get": {"operationId": "a",}},},}`, ""}, // trailing commas
	} {
		other := setup(t, c.document)
		_, err := other.call(t, "a", nil)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%q: got %v; want %q", c.document, err, c.want)
		}
	}
	other := setup(t, "openapi: 3.0.0\npaths: {/moved: {put: {operationId: moved}}, /fail: {get: {operationId: fail}}, /hang: {get: {operationId: hang}}}")
	_, err = other.call(t, "moved", object{"body": 1})
	fault(t, err, event.Communication, 307, "redirect: true")
	got, err := other.call(t, "moved", object{"body": 1}, "redirect", true, "output", "response")
	if m, _ := got.(object); err != nil || m["statusCode"] != 200 {
		t.Errorf("got %v, %v", got, err)
	}
	_, err = other.call(t, "fail", nil)
	fault(t, err, event.Communication, 418, "answered 418")
	_, err = other.call(t, "hang", nil, "document", object{"endpoint": "api.yaml"})
	fault(t, err, event.Configuration, 400, "on which host")
}

// Whatever is in a document or in parameters, there is a result or a problem.
func TestAnyDocument(t *testing.T) {
	t.Parallel()
	words := []string{
		"openapi", "swagger", "paths", "/a/{x}", "get", "operationId", "a", "parameters", "name", "in", "path", "query", "body", "formData", "x", "$ref", "#/paths", "#", "requestBody", "content", "application/json",
		"multipart/form-data", form, "servers", "url", "variables", "host", "schemes", "security", "style", "deepObject", "matrix", "schema", "required", "consumes",
	}
	word := rapid.SampledFrom(words)
	var make func(depth int) *rapid.Generator[any]
	make = func(depth int) *rapid.Generator[any] {
		if depth == 0 {
			return rapid.OneOf(rapid.Just[any](nil), rapid.Just[any](true), rapid.Just[any](1), rapid.Map(word, func(s string) any { return s }))
		}
		return rapid.OneOf(
			rapid.Map(word, func(s string) any { return s }),
			rapid.Map(rapid.SliceOfN(make(depth-1), 0, 3), func(l []any) any { return l }),
			rapid.Map(rapid.MapOfN(word, make(depth-1), 0, 5), func(m map[string]any) any { return m }),
		)
	}
	s := setup(t, "{}")
	rapid.Check(t, func(rt *rapid.T) {
		item := object{"get": make(3).Draw(rt, "get"), "post": object{"operationId": "a", "parameters": rapid.SliceOfN(make(2), 0, 3).Draw(rt, "p"), "requestBody": make(3).Draw(rt, "b")}}
		root := object{"paths": object{"/a/{x}": item}, "servers": make(2).Draw(rt, "s"), "components": make(2).Draw(rt, "c")}
		if rapid.Bool().Draw(rt, "swagger") {
			root["swagger"], root["host"], root["consumes"] = 2, "127.0.0.1:1", make(1).Draw(rt, "consumes")
		}
		b, err := json.Marshal(root)
		if err != nil {
			rt.Fatal(err)
		}
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "d"), b, 0o600); err != nil {
			rt.Fatal(err)
		}
		r, log := executortest.Request(t, "openapi", object{"document": object{"endpoint": filepath.Join(dir, "d")}, "operationId": "a", "parameters": rapid.MapOfN(word, make(2), 0, 4).Draw(rt, "given")})
		if _, err := s.Execute(t.Context(), r); err != nil {
			executortest.CheckProblem(t, err)
		}
		log.Close()
	})
}

func TestLaws(t *testing.T) {
	s := setup(t, "openapi: 3.0.0\npaths: {/ok: {get: {operationId: ok}}, /fail: {get: {operationId: fail}}, /hang: {get: {operationId: hang}}}")
	with := func(operation string) any {
		return object{"document": object{"endpoint": s.URL + "/openapi"}, "operationId": operation}
	}
	executortest.Exercise(t, executortest.Subject{
		Executor: s.Executor, Kind: "openapi", Works: with("ok"), Fails: with("fail"), Hangs: with("hang"), Hanging: s.hanging,
	})
	if problems := s.Check(object{"operationId": 1}); len(problems) != 1 || !strings.Contains(problems[0], "/document is missing") {
		t.Errorf("got %v", problems)
	}
	if _, err := executor.NewCatalog(executor.Entry{Kind: openapi.Kind(), Executor: s.Executor}); err != nil {
		t.Error(err)
	}
}
