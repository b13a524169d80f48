package grpc_test

import (
	"context"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bufbuild/protocompile"
	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	googlegrpc "google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/reflection"
	reflectionv1 "google.golang.org/grpc/reflection/grpc_reflection_v1"
	reflectionv1alpha "google.golang.org/grpc/reflection/grpc_reflection_v1alpha"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/dynamicpb"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/executor"
	"github.com/downbeat-dev/downbeat/internal/executor/executortest"
	"github.com/downbeat-dev/downbeat/internal/executor/grpc"
	"github.com/downbeat-dev/downbeat/internal/outbound"
)

type object = map[string]any

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// inventory is a real server of testdata/shop/v1/inventory.proto.
type inventory struct {
	*grpc.Executor
	address string
	port    int
	seen    atomic.Pointer[metadata.MD]
	hanging chan struct{}
	asked   atomic.Int64           // reflection
	hidden  atomic.Bool            // the service has no method Add any more
	valid   atomic.Pointer[string] // the authorization that it wants; nil: any
	ended   chan struct{}          // gets the end of each hanging call
}

func describe(t *testing.T) *protoregistry.Files {
	t.Helper()
	c := protocompile.Compiler{Resolver: protocompile.WithStandardImports(&protocompile.SourceResolver{ImportPaths: []string{"testdata"}})}
	linked, err := c.Compile(t.Context(), "shop/v1/inventory.proto")
	if err != nil {
		t.Fatal(err)
	}
	files := new(protoregistry.Files)
	f := linked[0]
	for i := range f.Imports().Len() {
		if err := files.RegisterFile(f.Imports().Get(i).FileDescriptor); err != nil {
			t.Fatal(err)
		}
	}
	if err := files.RegisterFile(f); err != nil {
		t.Fatal(err)
	}
	return files
}

type options struct {
	tls        *tls.Config
	outbound   outbound.Config
	reflection string // "", "v1", "v1alpha"
}

func setup(t *testing.T, o options) *inventory {
	t.Helper()
	s := &inventory{hanging: make(chan struct{}, 100), ended: make(chan struct{}, 100)}
	files := describe(t)
	var more []googlegrpc.ServerOption
	if o.tls != nil {
		more = append(more, googlegrpc.Creds(credentials.NewTLS(o.tls)))
	}
	server := googlegrpc.NewServer(more...)
	server.RegisterService(s.service(files), s)
	resolver := reflection.ServerOptions{Services: server, DescriptorResolver: files}
	switch o.reflection {
	case "v1":
		reflectionv1.RegisterServerReflectionServer(server, counting{reflection.NewServerV1(resolver), &s.asked})
	case "v1alpha":
		reflectionv1alpha.RegisterServerReflectionServer(server, reflection.NewServer(resolver))
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.address, s.port = l.Addr().String(), l.Addr().(*net.TCPAddr).Port
	go func() { _ = server.Serve(l) }()
	client, err := outbound.New(o.outbound)
	if err != nil {
		t.Fatal(err)
	}
	s.Executor = grpc.New(client, "1.2.3")
	t.Cleanup(func() {
		s.CloseIdleConnections()
		server.Stop()
	})
	return s
}

type counting struct {
	reflectionv1.ServerReflectionServer
	asked *atomic.Int64
}

func (c counting) ServerReflectionInfo(s reflectionv1.ServerReflection_ServerReflectionInfoServer) error {
	c.asked.Add(1)
	return c.ServerReflectionServer.ServerReflectionInfo(s)
}

func (s *inventory) service(files *protoregistry.Files) *googlegrpc.ServiceDesc {
	d, err := files.FindDescriptorByName("shop.v1.Inventory")
	if err != nil {
		panic(err)
	}
	desc := &googlegrpc.ServiceDesc{ServiceName: "shop.v1.Inventory", HandlerType: (*any)(nil), Metadata: "shop/v1/inventory.proto"}
	methods := d.(protoreflect.ServiceDescriptor).Methods()
	for i := range methods.Len() {
		m := methods.Get(i)
		desc.Streams = append(desc.Streams, googlegrpc.StreamDesc{
			StreamName: string(m.Name()), ServerStreams: true, ClientStreams: true,
			Handler: func(_ any, stream googlegrpc.ServerStream) error { return s.serve(m, stream) },
		})
	}
	return desc
}

func answer(stream googlegrpc.ServerStream, m protoreflect.MethodDescriptor, json string) error {
	out := dynamicpb.NewMessage(m.Output())
	if err := protojson.Unmarshal([]byte(json), out); err != nil {
		panic(err)
	}
	return stream.SendMsg(out)
}

func (s *inventory) serve(m protoreflect.MethodDescriptor, stream googlegrpc.ServerStream) error {
	md, _ := metadata.FromIncomingContext(stream.Context())
	if d, ok := stream.Context().Deadline(); ok {
		md.Set("deadline", d.UTC().Format(time.RFC3339Nano))
	}
	s.seen.Store(&md)
	if s.hidden.Load() {
		return status.Error(codes.Unimplemented, "gone")
	}
	if v := s.valid.Load(); v != nil && !slices.Contains(md.Get("authorization"), *v) {
		return status.Error(codes.Unauthenticated, "revoked")
	}
	var skus []string
	for {
		in := dynamicpb.NewMessage(m.Input())
		if err := stream.RecvMsg(in); err != nil {
			break
		}
		sku := in.Get(m.Input().Fields().ByName("sku")).String()
		skus = append(skus, sku)
		switch {
		case sku == "hang":
			s.hanging <- struct{}{}
			<-stream.Context().Done()
			s.ended <- struct{}{}
			return nil
		case sku == "endless":
			big := strings.Repeat("x", 1<<20)
			for stream.Context().Err() == nil {
				_ = answer(stream, m, `{"sku":"`+big+`"}`)
			}
			return nil
		case sku == "busy":
			st, _ := status.New(codes.ResourceExhausted, "slow down").WithDetails(
				&errdetails.RetryInfo{RetryDelay: durationpb.New(7 * time.Second)},
				&errdetails.BadRequest{FieldViolations: []*errdetails.BadRequest_FieldViolation{{Field: "sku", Description: "too often"}}})
			return st.Err()
		case strings.HasPrefix(sku, "code "):
			var code codes.Code
			_ = code.UnmarshalJSON([]byte(`"` + sku[5:] + `"`))
			return status.Error(code, "as asked")
		case m.Name() == "Exchange":
			_ = answer(stream, m, `{"sku":"`+strings.ToUpper(sku)+`"}`)
		}
		if !m.IsStreamingClient() {
			break
		}
	}
	switch m.Name() {
	case "Get":
		return answer(stream, m, `{"sku":"`+skus[0]+`","amount":"9007199254740993","label":"AQI=","seen":{"a":"b"}}`)
	case "List":
		for _, sku := range []string{"a", "b", "c"} {
			_ = answer(stream, m, `{"sku":"`+sku+`"}`)
		}
	case "Add":
		return answer(stream, m, `{"total":"`+string(rune('0'+len(skus)))+`","skus":["`+strings.Join(skus, `","`)+`"],"at":"2026-01-02T03:04:05Z","any":{"@type":"type.googleapis.com/google.protobuf.Duration","value":"3s"}}`)
	}
	return nil
}

func (s *inventory) arguments(method string, arguments any) object {
	return object{
		"proto":   object{"endpoint": "shop/v1/inventory.proto"},
		"service": object{"name": "Inventory", "host": "127.0.0.1", "port": s.port}, "method": method, "arguments": arguments,
	}
}

func (s *inventory) call(t *testing.T, arguments object) (executor.Result, error) {
	t.Helper()
	r, log := executortest.Request(t, "grpc", arguments)
	r.BaseDirectory, _ = filepath.Abs("testdata")
	r.Traceparent = "00-1-2-01"
	r.WantsAuthorization = true
	r.Secrets = executortest.Secrets{"ann": object{"username": "ann", "password": "p"}}
	result, err := s.Execute(t.Context(), r)
	log.Close()
	return result, err
}

func item(sku string) object {
	return object{"sku": sku, "amount": "0", "label": "", "seen": object{}}
}

// DSL 68, 70: all four kinds of methods, by document and by reflection.
func TestCall(t *testing.T) {
	for _, mode := range []string{"document", "v1", "v1alpha"} {
		t.Run(mode, func(t *testing.T) {
			s := setup(t, options{reflection: mode})
			for _, c := range []struct {
				method    string
				arguments any
				want      any
			}{
				{"Get", object{"sku": "a", "count": 2}, object{"sku": "a", "amount": "9007199254740993", "label": "AQI=", "seen": object{"a": "b"}}},
				{"List", object{}, []any{item("a"), item("b"), item("c")}},
				{"List", nil, []any{item("a"), item("b"), item("c")}},
				{"Add", []any{object{"sku": "x"}, object{"sku": "y"}}, object{"total": "2", "skus": []any{"x", "y"}, "at": "2026-01-02T03:04:05Z", "any": object{"@type": "type.googleapis.com/google.protobuf.Duration", "value": "3s"}}},
				{"Exchange", []any{object{"sku": "x"}, object{"sku": "y", "amount": 7}}, []any{item("X"), item("Y")}},
				{"Exchange", []any{}, []any{}},
			} {
				arguments := s.arguments(c.method, c.arguments)
				switch mode {
				case "v1":
					arguments["proto"] = object{"endpoint": "reflection:"}
				case "v1alpha":
					delete(arguments, "proto")
				}
				got, err := s.call(t, arguments)
				if err != nil {
					t.Fatalf("%s: %v", c.method, err)
				}
				if d := cmp.Diff(c.want, got.Output); d != "" {
					t.Errorf("%s: %s", c.method, d)
				}
			}
			if n := s.asked.Load(); mode == "v1" && n != 1 {
				t.Errorf("the server was asked %d times for its description; want 1", n)
			}
		})
	}
}

// DSL 68, 201: a document over HTTP with imports beside it, which may change.
func TestDocumentOverHTTP(t *testing.T) {
	s := setup(t, options{})
	files := http.FileServer(http.Dir("testdata"))
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-cache")
		if user, _, _ := r.BasicAuth(); user != "ann" {
			w.WriteHeader(401)
			return
		}
		files.ServeHTTP(w, r)
	}))
	defer web.Close()
	arguments := s.arguments("Get", object{"sku": "a"})
	arguments["proto"] = object{"endpoint": object{"uri": web.URL + "/shop/v1/inventory.proto", "authentication": object{"basic": object{"use": "ann"}}}}
	for range 2 {
		if _, err := s.call(t, arguments); err != nil {
			t.Fatal(err)
		}
	}
	arguments["proto"] = object{"endpoint": web.URL + "/shop/v1/inventory.proto"}
	_, err := s.call(t, arguments)
	if p := executortest.CheckProblem(t, err); p.Status != 401 {
		t.Errorf("got %v", p)
	}
}

func TestMetadata(t *testing.T) {
	s := setup(t, options{})
	arguments := s.arguments("Get", object{"sku": "a"})
	arguments["service"].(object)["authentication"] = object{"basic": object{"use": "ann"}}
	arguments["metadata"] = object{"X-Tenant": "blue", "list": []any{"1", "2"}}
	r, err := s.call(t, arguments)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(&event.Authorization{Scheme: "Basic", Parameter: "YW5uOnA="}, r.Authorization); d != "" {
		t.Error(d)
	}
	md := *s.seen.Load()
	for key, want := range map[string][]string{
		"authorization": {"Basic YW5uOnA="}, "x-tenant": {"blue"}, "list": {"1", "2"}, "traceparent": {"00-1-2-01"}, "idempotency-key": {"key-TestMetadata"},
	} {
		if d := cmp.Diff(want, md.Get(key)); d != "" {
			t.Errorf("%s: %s", key, d)
		}
	}
	if ua := md.Get("user-agent"); len(ua) != 1 || !strings.HasPrefix(ua[0], "downbeat/1.2.3") {
		t.Errorf("user-agent %v", ua)
	}
	for _, bad := range []object{{"grpc-timeout": "1"}, {"a b": "1"}, {"a": "ü"}} {
		arguments["metadata"] = bad
		_, err := s.call(t, arguments)
		if p := executortest.CheckProblem(t, err); p.Status != 400 {
			t.Errorf("%v gave %v", bad, p)
		}
	}
}

func TestStatus(t *testing.T) {
	s := setup(t, options{})
	for code, want := range map[string]struct {
		family string
		status int
	}{
		"UNAUTHENTICATED": {event.Authentication, 401}, "PERMISSION_DENIED": {event.Forbidden, 403}, "DEADLINE_EXCEEDED": {event.Timeout, 408},
		"INVALID_ARGUMENT": {event.Communication, 400}, "NOT_FOUND": {event.Communication, 404}, "UNAVAILABLE": {event.Communication, 503},
		"UNIMPLEMENTED": {event.Communication, 501}, "ABORTED": {event.Communication, 409}, "INTERNAL": {event.Communication, 500},
	} {
		_, err := s.call(t, s.arguments("Get", object{"sku": "code " + code}))
		p := executortest.CheckProblem(t, err)
		if p.Type != event.TypePrefix+want.family || p.Status != want.status || p.More["grpcCode"] != code || !strings.Contains(p.Detail, "as asked") {
			t.Errorf("%s: got %+v", code, p)
		}
	}
	_, err := s.call(t, s.arguments("Exchange", []any{object{"sku": "busy"}, object{"sku": "b"}}))
	p := executortest.CheckProblem(t, err)
	want := object{"grpcCode": "RESOURCE_EXHAUSTED", "retryAfter": "7", "details": []any{
		object{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "7s"},
		object{"@type": "type.googleapis.com/google.rpc.BadRequest", "fieldViolations": []any{object{"field": "sku", "description": "too often"}}},
	}}
	if d := cmp.Diff(want, p.More); d != "" || p.Status != 429 {
		t.Errorf("%v %s", p, d)
	}
}

func TestMistakes(t *testing.T) {
	s := setup(t, options{})
	dir := t.TempDir()
	bad := filepath.Join(dir, "bad.proto")
	if err := os.WriteFile(bad, []byte("syntax = \"proto3\";\nmessage {"), 0o600); err != nil {
		t.Fatal(err)
	}
	lone := filepath.Join(dir, "lone.proto")
	if err := os.WriteFile(lone, []byte("syntax = \"proto3\";\nimport \"nowhere.proto\";"), 0o600); err != nil {
		t.Fatal(err)
	}
	with := func(change func(a object)) object {
		a := s.arguments("Get", object{"sku": "a"})
		change(a)
		return a
	}
	for name, c := range map[string]struct {
		arguments object
		status    int
		says      string
	}{
		"method":        {with(func(a object) { a["method"] = "Put" }), 400, "it has [Get, List, Add, Exchange]"},
		"service":       {with(func(a object) { a["service"].(object)["name"] = "Stock" }), 400, "there are [shop.v1.Inventory]"},
		"field":         {with(func(a object) { a["arguments"] = object{"skuu": "a"} }), 400, `unknown field "skuu"`},
		"array":         {with(func(a object) { a["arguments"] = []any{} }), 400, "takes one message"},
		"port":          {with(func(a object) { a["service"].(object)["port"] = 70000 }), 400, "from 1 to 65535"},
		"scheme":        {with(func(a object) { a["service"].(object)["host"] = "ftp://x" }), 400, `scheme "ftp"`},
		"no file":       {with(func(a object) { a["proto"] = object{"endpoint": "no.proto"} }), 400, "there is no file"},
		"bad file":      {with(func(a object) { a["proto"] = object{"endpoint": bad} }), 400, "bad.proto:2:9"},
		"import":        {with(func(a object) { a["proto"] = object{"endpoint": lone} }), 400, "nowhere.proto"},
		"no server":     {with(func(a object) { a["service"].(object)["port"] = 1 }), 503, "connection refused"},
		"no tls":        {with(func(a object) { a["service"].(object)["host"] = "https://127.0.0.1" }), 503, "TLS"},
		"no reflection": {with(func(a object) { delete(a, "proto") }), 400, "no reflection"},
		"digest": {with(func(a object) {
			a["service"].(object)["authentication"] = object{"digest": object{"use": "ann"}}
		}), 400, "digest"},
		"endless": {s.arguments("List", object{"sku": "endless"}), 500, "16777216 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := s.call(t, c.arguments)
			p := executortest.CheckProblem(t, err)
			if p.Status != c.status || !strings.Contains(p.Detail, c.says) {
				t.Errorf("got %v; want %d %q", p, c.status, c.says)
			}
		})
	}
}

func TestTLS(t *testing.T) {
	web := httptest.NewUnstartedServer(nil)
	web.StartTLS()
	certificate := web.TLS.Certificates[0]
	authority := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate.Certificate[0]})
	web.Close()
	server := &tls.Config{Certificates: []tls.Certificate{certificate}}
	trusted := setup(t, options{tls: server, outbound: outbound.Config{Authorities: authority}})
	arguments := trusted.arguments("Get", object{"sku": "a"})
	arguments["service"].(object)["host"] = "https://127.0.0.1"
	if _, err := trusted.call(t, arguments); err != nil {
		t.Fatal(err)
	}
	stranger := setup(t, options{tls: server})
	arguments = stranger.arguments("Get", object{"sku": "a"})
	arguments["service"].(object)["host"] = "https://127.0.0.1"
	_, err := stranger.call(t, arguments)
	if p := executortest.CheckProblem(t, err); p.Status != 503 || !strings.Contains(p.Detail, "certificate") {
		t.Errorf("got %v", p)
	}
}

func TestEgress(t *testing.T) {
	s := setup(t, options{outbound: outbound.Config{Deny: []string{"127.0.0.0/8"}}})
	_, err := s.call(t, s.arguments("Get", object{"sku": "a"}))
	if p := executortest.CheckProblem(t, err); p.Status != 403 || !strings.Contains(p.Detail, "egress") {
		t.Errorf("got %v", p)
	}
}

// A description that the server gave earlier is asked again when it does not fit.
func TestReflectionIsAskedAgain(t *testing.T) {
	s := setup(t, options{reflection: "v1"})
	arguments := s.arguments("Get", object{"sku": "a"})
	delete(arguments, "proto")
	if _, err := s.call(t, arguments); err != nil {
		t.Fatal(err)
	}
	s.hidden.Store(true)
	_, err := s.call(t, arguments)
	if p := executortest.CheckProblem(t, err); p.Status != 501 || s.asked.Load() != 2 {
		t.Errorf("got %v after asking %d times", p, s.asked.Load())
	}
}

// DSL 67: whoever names a service that is not there learns which there are.
func TestServicesAreNamed(t *testing.T) {
	for _, version := range []string{"v1", "v1alpha"} {
		s := setup(t, options{reflection: version})
		for _, name := range []string{"shop.v1.Inventroy", "Inventroy"} {
			arguments := s.arguments("Get", object{"sku": "a"})
			delete(arguments, "proto")
			arguments["service"].(object)["name"] = name
			_, err := s.call(t, arguments)
			p := executortest.CheckProblem(t, err)
			if want := fmt.Sprintf("the server has no service %q; it has [", name); p.Status != 400 || !strings.Contains(p.Detail, want) || !strings.Contains(p.Detail, "shop.v1.Inventory") {
				t.Errorf("%s: got %v; want %s", version, p, want)
			}
		}
	}
}

// DSL 70: the server learns the deadline of the task; what passes it is
// cancelled from outside, which is what the workflow is told.
func TestDeadline(t *testing.T) {
	s := setup(t, options{})
	request := func(sku string) *executor.Request {
		r, log := executortest.Request(t, "grpc", s.arguments("Get", object{"sku": sku}))
		t.Cleanup(log.Close)
		r.BaseDirectory, _ = filepath.Abs("testdata")
		return r
	}
	r := request("a")
	r.Deadline = time.Now().Add(time.Hour)
	if _, err := s.Execute(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	got, err := time.Parse(time.RFC3339Nano, strings.Join(s.seen.Load().Get("deadline"), ""))
	if off := got.Sub(r.Deadline).Abs(); err != nil || off > time.Minute {
		t.Errorf("the server's deadline is %v off: %v", off, err)
	}
	r = request("hang")
	r.Deadline = time.Now().Add(100 * time.Millisecond)
	ctx, cancel := context.WithCancelCause(t.Context())
	timeout := errors.New("the task took too long")
	go func() {
		<-s.ended // by its own deadline: nobody has cancelled anything
		cancel(timeout)
	}()
	if _, err = s.Execute(ctx, r); !errors.Is(err, timeout) {
		t.Errorf("got %v", err)
	}
	r = request("a")
	if _, err := s.Execute(t.Context(), r); err != nil || len(s.seen.Load().Get("deadline")) > 0 {
		t.Errorf("a deadline without a timeout: %v %v", s.seen.Load().Get("deadline"), err)
	}
}

func TestExercise(t *testing.T) {
	s := setup(t, options{})
	proto, _ := filepath.Abs("testdata/shop/v1/inventory.proto")
	with := func(sku string) object {
		a := s.arguments("Get", object{"sku": sku})
		a["proto"] = object{"endpoint": proto}
		return a
	}
	executortest.Exercise(t, executortest.Subject{
		Executor: s, Kind: "grpc", Works: with("a"), Fails: with("code NOT_FOUND"), Hangs: with("hang"), Hanging: s.hanging,
	})
}
