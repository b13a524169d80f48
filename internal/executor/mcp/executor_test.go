package mcp_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	sdk "github.com/modelcontextprotocol/go-sdk/mcp"
	"go.uber.org/goleak"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/executor"
	"github.com/downbeat-dev/downbeat/internal/executor/executortest"
	"github.com/downbeat-dev/downbeat/internal/executor/mcp"
	"github.com/downbeat-dev/downbeat/internal/executor/process"
	"github.com/downbeat-dev/downbeat/internal/outbound"
)

type object = map[string]any

// TestMain makes this binary a server, when it is started as one.
func TestMain(m *testing.M) {
	switch os.Getenv("MCP_TEST_SERVER") {
	case "":
		goleak.VerifyTestMain(m)
	case "sdk":
		fmt.Fprintln(os.Stderr, "the server is up")
		_ = server(make(chan string, 10)).Run(context.Background(), &sdk.StdioTransport{})
	case "garbage":
		fmt.Println("Welcome to my server!")
		_, _ = io.Copy(io.Discard, os.Stdin)
	case "flood":
		for {
			fmt.Println(`{"jsonrpc":"2.0","method":"notifications/progress","params":{}}`)
		}
	case "endless":
		for {
			fmt.Print(`{"jsonrpc":"2.0",`)
		}
	case "dies":
		os.Exit(3)
	case "deaf":
		time.Sleep(time.Hour)
	}
}

type greeting struct {
	Name string `json:"name"`
}

// server is one of the official SDK; it tells of what happens in its tools.
func server(told chan string) *sdk.Server {
	s := sdk.NewServer(&sdk.Implementation{Name: "greeter", Version: "1.0"}, nil)
	sdk.AddTool(s, &sdk.Tool{Name: "greet", Description: "says hi"}, func(ctx context.Context, q *sdk.CallToolRequest, in greeting) (*sdk.CallToolResult, any, error) {
		_ = q.Session.Log(ctx, &sdk.LoggingMessageParams{Level: "info", Data: "greeting"})
		return &sdk.CallToolResult{Content: []sdk.Content{&sdk.TextContent{Text: "Hi " + in.Name}}}, nil, nil
	})
	sdk.AddTool(s, &sdk.Tool{Name: "fail"}, func(context.Context, *sdk.CallToolRequest, struct{}) (*sdk.CallToolResult, any, error) {
		return nil, nil, errors.New("it does not work")
	})
	sdk.AddTool(s, &sdk.Tool{Name: "hang"}, func(ctx context.Context, q *sdk.CallToolRequest, in struct{}) (*sdk.CallToolResult, any, error) {
		told <- "hangs"
		<-ctx.Done()
		told <- "cancelled"
		return nil, nil, ctx.Err()
	})
	sdk.AddTool(s, &sdk.Tool{Name: "where"}, func(context.Context, *sdk.CallToolRequest, struct{}) (*sdk.CallToolResult, any, error) {
		dir, err := os.Getwd()
		return &sdk.CallToolResult{Content: []sdk.Content{&sdk.TextContent{Text: dir}}}, nil, err
	})
	s.AddPrompt(&sdk.Prompt{Name: "poem"}, func(context.Context, *sdk.GetPromptRequest) (*sdk.GetPromptResult, error) {
		return &sdk.GetPromptResult{Description: "a poem", Messages: []*sdk.PromptMessage{{Role: "user", Content: &sdk.TextContent{Text: "roses"}}}}, nil
	})
	s.AddResource(&sdk.Resource{URI: "test://one", Name: "one"}, func(context.Context, *sdk.ReadResourceRequest) (*sdk.ReadResourceResult, error) {
		return &sdk.ReadResourceResult{Contents: []*sdk.ResourceContents{{URI: "test://one", Text: "the text"}}}, nil
	})
	s.AddResourceTemplate(&sdk.ResourceTemplate{Name: "each", URITemplate: "test://{name}"}, func(context.Context, *sdk.ReadResourceRequest) (*sdk.ReadResourceResult, error) {
		return nil, errors.New("none")
	})
	return s
}

func newExecutor(t *testing.T) *mcp.Executor {
	t.Helper()
	client, err := outbound.New(outbound.Config{MaxResponse: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.CloseIdleConnections)
	return mcp.New(client, process.New(process.Config{Environment: os.Environ()}), "test")
}

// stdio is the transport to this binary as a server.
func stdio(kind string) object {
	return object{"stdio": object{"command": os.Args[0], "arguments": []any{}, "environment": object{"MCP_TEST_SERVER": kind}}}
}

// transports runs the test over each transport, HTTP in its forms.
func transports(t *testing.T, f func(t *testing.T, transport object)) {
	t.Helper()
	t.Run("stdio", func(t *testing.T) { f(t, stdio("sdk")) })
	for name, o := range map[string]*sdk.StreamableHTTPOptions{"events": nil, "json": {JSONResponse: true}, "stateless": {Stateless: true}} {
		t.Run("http "+name, func(t *testing.T) {
			s := server(make(chan string, 10))
			h := httptest.NewServer(sdk.NewStreamableHTTPHandler(func(*http.Request) *sdk.Server { return s }, o))
			defer h.Close()
			f(t, object{"http": object{"endpoint": h.URL, "headers": object{"X-Team": "a"}}})
		})
	}
}

func execute(t *testing.T, arguments object) (any, *executortest.Log, error) {
	t.Helper()
	r, log := executortest.Request(t, "mcp", arguments)
	result, err := newExecutor(t).Execute(t.Context(), r)
	log.Close()
	return result.Output, log, err
}

func fails(t *testing.T, arguments object, family, detail string) *event.Problem {
	t.Helper()
	_, _, err := execute(t, arguments)
	p := executortest.CheckProblem(t, err)
	if p.Type != event.TypePrefix+family || !strings.Contains(p.Detail, detail) {
		t.Errorf("%v: got %s %q; want %s with %q", arguments, p.Type, p.Detail, family, detail)
	}
	return p
}

// DSL 81, 82, 83: the seven methods over both transports; the output is the result.
func TestMethods(t *testing.T) {
	transports(t, func(t *testing.T, transport object) {
		for _, c := range []struct {
			method     string
			parameters any
			path, want string
		}{
			{"tools/list", nil, "tools/1/name", "greet"},
			{"tools/call", object{"name": "greet", "arguments": object{"name": "Ada"}}, "content/0/text", "Hi Ada"},
			{"tools/call", object{"name": "fail", "arguments": object{}}, "isError", "true"},
			{"prompts/list", object{}, "prompts/0/name", "poem"},
			{"prompts/get", object{"name": "poem"}, "messages/0/content/text", "roses"},
			{"resources/list", nil, "resources/0/uri", "test://one"},
			{"resources/read", object{"uri": "test://one"}, "contents/0/text", "the text"},
			{"resources/templates/list", nil, "resourceTemplates/0/name", "each"},
		} {
			arguments := object{"method": c.method, "transport": transport}
			if c.parameters != nil {
				arguments["parameters"] = c.parameters
			}
			got, _, err := execute(t, arguments)
			if err != nil {
				t.Errorf("%s: %v", c.method, err)
				continue
			}
			v := got
			for step := range strings.SplitSeq(c.path, "/") {
				switch x := v.(type) {
				case object:
					v = x[step]
				case []any:
					var i int
					_, _ = fmt.Sscan(step, &i)
					v = x[i]
				}
			}
			if fmt.Sprint(v) != c.want {
				t.Errorf("%s: got %v", c.method, got)
			}
		}
		p := fails(t, object{"method": "tools/call", "transport": transport, "parameters": object{"name": "none"}}, event.Runtime, "the error -32602")
		if p.Status != 500 || p.More["code"] != -32602 {
			t.Errorf("got %+v", p)
		}
	})
}

func TestLog(t *testing.T) {
	_, log, err := execute(t, object{"method": "tools/list", "transport": stdio("sdk")})
	if err != nil || log.Text("stderr") != "the server is up\n" {
		t.Errorf("got %v, log %q", err, log.Text("stderr"))
	}
}

// A command with its arguments in one text is no program's name.
func TestCommandWithArguments(t *testing.T) {
	_, _, err := execute(t, object{"method": "tools/list", "transport": object{"stdio": object{"command": "go run ./tools"}}})
	if p := executortest.CheckProblem(t, err); !strings.Contains(p.Detail, `the command is "go" alone, and "run ./tools" belongs into its arguments`) {
		t.Error(p.Detail)
	}
}

func TestExercise(t *testing.T) {
	t.Run("stdio", func(t *testing.T) {
		call := func(tool string) object {
			return object{"method": "tools/call", "parameters": object{"name": tool, "arguments": object{"name": "x"}}, "transport": stdio("sdk")}
		}
		executortest.Exercise(t, executortest.Subject{
			Executor: newExecutor(t), Kind: "mcp", Works: call("greet"), Fails: call("none"), Hangs: object{"method": "tools/list", "transport": stdio("deaf")},
		})
	})
	t.Run("http", func(t *testing.T) {
		told := make(chan string, 100)
		s := server(told)
		h := httptest.NewServer(sdk.NewStreamableHTTPHandler(func(*http.Request) *sdk.Server { return s }, nil))
		defer h.Close()
		defer h.CloseClientConnections()
		hanging := make(chan struct{}, 1)
		cancelled := make(chan struct{}, 1)
		go func() {
			for what := range told {
				if what == "hangs" {
					hanging <- struct{}{}
				} else {
					cancelled <- struct{}{}
				}
			}
		}()
		defer close(told)
		call := func(tool string) object {
			return object{"method": "tools/call", "parameters": object{"name": tool, "arguments": object{}}, "transport": object{"http": object{"endpoint": h.URL}}}
		}
		works := object{"method": "tools/list", "transport": object{"http": object{"endpoint": h.URL}}}
		executortest.Exercise(t, executortest.Subject{Executor: newExecutor(t), Kind: "mcp", Works: works, Fails: call("none")})
		r, _ := executortest.Request(t, "mcp", call("hang"))
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			<-hanging
			cancel()
		}()
		if _, err := newExecutor(t).Execute(ctx, r); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		<-cancelled // the server was told
	})
}

// DSL 81: the option of the transport of programs, and those that are none.
func TestOptions(t *testing.T) {
	dir := t.TempDir()
	where := func(transport object, options any) object {
		return object{"method": "tools/call", "parameters": object{"name": "where", "arguments": object{}}, "transport": with(transport, "options", options)}
	}
	got, _, err := execute(t, where(stdio("sdk"), object{"workingDirectory": dir}))
	if err != nil || !strings.Contains(fmt.Sprint(got), "text:"+dir) {
		t.Errorf("got %v, %v", got, err)
	}
	fails(t, where(stdio("sdk"), object{"workingDirectory": dir + "/none"}), event.Configuration, "none, which is no directory here")
	fails(t, where(stdio("sdk"), object{"workingDirectory": 1}), event.Configuration, "must be a string, not of type")
	fails(t, where(stdio("sdk"), object{"workingDirectroy": dir}), event.Configuration, `"workingDirectroy", which is no option here: stdio has workingDirectory`)
	fails(t, where(object{"http": object{"endpoint": "http://x"}}, object{"workingDirectory": dir}), event.Configuration, "http has none")
}

func with(m object, name string, v any) object {
	m[name] = v
	return m
}

// DSL 43, DSL 166: what the policy gave is there for $authorization, where it is wanted.
func TestAuthorization(t *testing.T) {
	s := server(make(chan string, 10))
	h := httptest.NewServer(sdk.NewStreamableHTTPHandler(func(*http.Request) *sdk.Server { return s }, nil))
	defer h.Close()
	for _, wanted := range []bool{true, false} {
		r, _ := executortest.Request(t, "mcp", object{"method": "tools/list", "transport": object{"http": object{
			"endpoint": object{"uri": h.URL, "authentication": object{"bearer": object{"token": "t0ken"}}},
		}}})
		r.WantsAuthorization = wanted
		result, err := newExecutor(t).Execute(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		if got := result.Authorization; (got != nil) != wanted || wanted && (got.Scheme != "Bearer" || got.Parameter != "t0ken") {
			t.Errorf("got %v", got)
		}
	}
}

// DSL 82: timeout, client and version as the server sees them.
func TestHandshake(t *testing.T) {
	var bodies []string
	var versions []string
	h := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		bodies = append(bodies, r.Method+" "+string(b))
		versions = append(versions, r.Header.Get("Mcp-Protocol-Version")+"/"+r.Header.Get("Mcp-Session-Id")+"/"+r.Header.Get("Authorization"))
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Mcp-Session-Id", "s1")
		switch {
		case strings.Contains(string(b), `"initialize"`):
			fmt.Fprint(w, `{"jsonrpc":"2.0","id":1,"result":{"protocolVersion":"2025-03-26"}}`)
		case strings.Contains(string(b), `"id":2`):
			fmt.Fprint(w, `{"jsonrpc":"2.0","id":2,"result":{"tools":[],"big":123456789012345678901234567890,"x_own":1.50}}`)
		default:
			w.WriteHeader(http.StatusAccepted)
		}
	}))
	defer h.Close()
	got, _, err := execute(t, object{
		"method": "tools/list", "unknown": 1, "client": object{"name": "me", "version": "7"},
		"transport": object{"http": object{"endpoint": object{"uri": h.URL, "authentication": object{"bearer": object{"token": "t"}}}}, "own": object{"a": "b"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if s := fmt.Sprint(got); s != "map[big:123456789012345678901234567890 tools:[] x_own:1.5]" {
		t.Errorf("got %s", s)
	}
	want := []string{
		`POST {"id":1,"jsonrpc":"2.0","method":"initialize","params":{"capabilities":{},"clientInfo":{"name":"me","version":"7"},"protocolVersion":"2025-06-18"}}`,
		`POST {"jsonrpc":"2.0","method":"notifications/initialized"}`,
		`POST {"id":2,"jsonrpc":"2.0","method":"tools/list"}`,
		`DELETE `,
	}
	if d := cmp.Diff(want, bodies); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]string{"//Bearer t", "2025-03-26/s1/Bearer t", "2025-03-26/s1/Bearer t", "2025-03-26/s1/Bearer t"}, versions); d != "" {
		t.Error(d)
	}
}

// Servers that hang, print garbage, flood, die, answer in ways that are none.
func TestBadServers(t *testing.T) {
	list := func(transport object) object { return object{"method": "tools/list", "transport": transport} }
	fails(t, list(stdio("garbage")), event.Runtime, "Welcome to my server!")
	fails(t, list(stdio("flood")), event.Runtime, "100000 messages of its own")
	fails(t, list(stdio("endless")), event.Runtime, "more than 16777216 bytes")
	fails(t, list(stdio("dies")), event.Runtime, "exit code 3")
	fails(t, list(object{"stdio": object{"command": "no-such-program"}}), event.Configuration, "no-such-program")
	fails(t, list(object{"http": object{"endpoint": "http://127.0.0.1:1/"}}), event.Runtime, "connection refused")
	fails(t, list(object{"http": object{"endpoint": "ftp://x"}}), event.Configuration, "no address")
	fails(t, list(object{}), event.Configuration, "exactly one")
	fails(t, list(object{"http": object{"endpoint": "http://x"}, "stdio": object{"command": "x"}}), event.Configuration, "exactly one")
	p := fails(t, object{"method": "tools/list", "transport": stdio("deaf"), "timeout": object{"milliseconds": 200}}, event.Runtime, "not answered within")
	if p.Status != 408 {
		t.Errorf("got status %d", p.Status)
	}
	for answer, detail := range map[string]string{
		`hello`:                                "no message of JSON-RPC",
		`{"jsonrpc":"2.0","id":1,"result":{}}`: "without the version of its protocol",
		`{"jsonrpc":"2.0","id":1}`:             "no result",
		`{"jsonrpc":"2.0","id":9,"result":1}`:  "before the result came",
		`{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"what?","data":[1]}}`: "what?",
		strings.Repeat("x", 2<<20): "more than 1048576 bytes",
	} {
		for _, media := range []string{"application/json", "text/event-stream"} {
			h := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", media)
				if media != "application/json" {
					answer = "data: " + answer + "\n\n"
				}
				_, _ = io.WriteString(w, answer)
			}))
			fails(t, list(object{"http": object{"endpoint": h.URL}}), event.Runtime, detail)
			h.Close()
		}
	}
	h := httptest.NewServer(http.NotFoundHandler())
	defer h.Close()
	if p := fails(t, list(object{"http": object{"endpoint": h.URL}}), event.Runtime, "answered 404"); p.More["httpStatus"] != 404 {
		t.Errorf("got %v", p.More)
	}
}

// A crash of Downbeat: the program of the attempt is found and ended.
func TestRecover(t *testing.T) {
	e := newExecutor(t)
	r, _ := executortest.Request(t, "mcp", object{"method": "tools/list", "transport": stdio("deaf")})
	bound := make(chan any, 1)
	r.Bind = func(_ context.Context, h any) error { bound <- h; return nil }
	done := make(chan error, 1)
	go func() {
		_, err := e.Execute(t.Context(), r)
		done <- err
	}()
	if err := e.Recover(t.Context(), <-bound); err != nil {
		t.Errorf("Recover: %v", err)
	}
	executortest.CheckProblem(t, <-done)
}

var _ executor.Reattacher = (*mcp.Executor)(nil)
