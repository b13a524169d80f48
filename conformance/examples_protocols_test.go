package conformance_test

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// readmeShows compares the JSON block of an example's README with what it gives.
func (e example) readmeShows(t *testing.T) {
	t.Helper()
	src, err := os.ReadFile(filepath.Join(root, "examples", e.name, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(src), "```json\n"+e.want+"\n```") {
		t.Errorf("the README of %s does not show %s", e.name, e.want)
	}
}

func grpcInventory(service string, more ...string) example {
	return example{
		name: "grpc-inventory", args: append([]string{"grpc-inventory/workflow.yaml", "--input", "@grpc-inventory/order.yaml", "--set", "service=" + service, "--set", "pause=PT0.05S"}, more...),
		want: `{"order":"o-7","parcel":"p-o-7","pieces":7,"shelves":["B7","C1","A2"],"status":"packed"}`,
	}
}

// history is what has happened in the warehouse, as history.yaml tells it.
func history(t *testing.T, service string) []string {
	t.Helper()
	var list []string
	out := example{}.answer(t, t.TempDir(), "run", "-q", "grpc-inventory/history.yaml", "--set", "service="+service)
	if err := json.Unmarshal([]byte(out), &list); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return list
}

// DSL 68, DSL 70: methods of all kinds, by reflection and by a proto file.
func TestGRPCInventory(t *testing.T) {
	t.Parallel()
	service := standIn(t, "grpc-inventory/service", "-addr", "127.0.0.1:0", "-pause", "400ms")
	e := grpcInventory(service)
	e.readmeShows(t)
	// Killed in the middle of the stream: the first shelf has been emptied.
	took := "o-7: took 3 lamp from B7"
	if got := e.killedWhen(t, t.TempDir(), func() bool { return slices.Contains(history(t, service), took) }); got != e.want {
		t.Errorf("got  %s\nwant %s", got, e.want)
	}
	once := []string{took, "o-7: took 2 lamp from C1", "o-7: took 2 chair from A2", "o-7: packed 7 pieces"}
	same(t, history(t, service), once...)

	e = grpcInventory(service, "--set", "order=o-9", "--set", `lines=[{"item":"vase","amount":5}]`, "--set", "proto=service/inventory.proto")
	e.want = `{"order":"o-9","returned":1,"status":"released","why":"shop.inventory.v1.Inventory.Reserve at ` + service +
		` answered FAILED_PRECONDITION: shelf E2 is empty, the books are wrong"}`
	e.run(t)
	same(t, history(t, service), append(once, "o-9: took 1 vase from E1", "o-9: put back 1 pieces: Failed precondition")...)
}

func agentTools(services string, more ...string) example {
	return example{
		name: "agent-tools", env: []string{"DOWNBEAT_SECRET_MODELKEY=rosebud"}, event: "agent-tools/approved.json",
		args: append([]string{"agent-tools/workflow.yaml", "--set", "url=" + services + "/v1", "--set", "server.url=" + services + "/mcp", "--set", "pause=PT0.05S"}, more...),
		want: `{"answer":"Checkout had run out of memory. It has been restarted and is up again.","ticket":"OPS-7","tools":["list_services","read_log","restart_service"],"turns":3}`,
	}
}

// DSL 81-83, DSL 127: a server of the official SDK over both transports; an act that waits for a person.
func TestAgentTools(t *testing.T) {
	t.Parallel()
	for _, transport := range []string{"url", "program"} {
		url := standIn(t, "agent-tools/services", "-addr", "127.0.0.1:0")
		e := agentTools(url)
		if transport == "program" {
			program := filepath.Join(bin, "agent-tools-services") // which standIn has built
			e = agentTools(url, "--set", "server.command=exec "+program+" -stdio -world "+url)
		}
		e.readmeShows(t)
		// Killed while the model waits for leave; it is given while no process is there.
		data := t.TempDir()
		if got := e.killedWhen(t, data, func() bool { return e.completed(t, data, "announce") }); got != e.want {
			t.Errorf("%s: got  %s\nwant %s", transport, got, e.want)
		}
		same(t, effects(t, url), "restarted checkout")
	}

	url := standIn(t, "agent-tools/services", "-addr", "127.0.0.1:0")
	e := agentTools(url, "--set", "patience=PT0.05S")
	e.want = `{"answer":"Nothing was done. The last tool said: error: nobody did not allow this","ticket":"OPS-7","tools":["list_services","read_log","restart_service"],"turns":3}`
	e.run(t)
	e = agentTools(url, "--set", "question=The disk is full.")
	e.want = `{"answer":"Nothing was done. The last tool said: error: there is no log of payment","ticket":"OPS-7",` +
		`"tools":["list_services","read_log","format_disk","read_log","read_log"],"turns":3}`
	e.run(t)
	agentTools(url, "--set", "question=Mend everything.").faults(t, "8 turns were not enough for OPS-7")
	same(t, effects(t, url))
}

func orderFlow(services string) example {
	return example{
		name: "order-flow", args: []string{"order-flow/workflow.yaml", "--set", "services=" + services, "--set", "patience=PT1S", "--set", "pause=PT0.05S"},
		want: `{"rejected":[{"id":"o-2","reason":"Payment Required"},{"id":"o-3","reason":"Conflict"},{"id":"o-4","reason":"Unprocessable Entity"},` +
			`{"id":"unknown","reason":"this is no order"}],"shipped":["o-1"],"taken":6}`,
	}
}

// DSL 73-77: messages of a Kafka broker, received by amount and time, and published; killed when they are acknowledged and half done.
func TestOrderFlow(t *testing.T) {
	t.Parallel()
	url := standIn(t, "order-flow/services", "-addr", "127.0.0.1:0", "-kafka", "0", "-pause", "200ms")
	e := orderFlow(url)
	e.readmeShows(t)
	if got := e.killedWhen(t, t.TempDir(), func() bool { return slices.Contains(effects(t, url), "POST stock o-2 201") }); got != e.want {
		t.Errorf("got  %s\nwant %s", got, e.want)
	}
	// No order comes twice, and none is left.
	e.want = `{"rejected":[],"shipped":[],"taken":0}`
	e.run(t)
	once := []string{
		"POST stock o-1 201", "POST payment o-1 201", "POST courier o-1 201", "message shipped: o-1",
		"POST stock o-2 201", "POST payment o-2 402", "DELETE payment o-2 200", "DELETE stock o-2 200", "message rejected: o-2",
		"POST stock o-3 409", "DELETE payment o-3 200", "DELETE stock o-3 200", "message rejected: o-3",
		"POST stock o-4 201", "POST payment o-4 201", "POST courier o-4 422", "DELETE payment o-4 200", "DELETE stock o-4 200", "message rejected: o-4",
		"message rejected: unknown",
	}
	for range 200 { // the stand-in reads its topics by itself
		if len(effects(t, url)) >= len(once) {
			break
		}
		time.Sleep(25 * time.Millisecond)
	}
	same(t, effects(t, url), once...)
}

// DSL 77: killed while it receives. The run that goes on gets what the dead one
// had and does not wait until the broker has given that up.
func TestOrderFlowKilledWhileReceiving(t *testing.T) {
	t.Parallel()
	url := standIn(t, "order-flow/services", "-addr", "127.0.0.1:0", "-kafka", "0")
	e := orderFlow(url)
	e.args = append(e.args, "--set", "patience=PT4S")
	client, err := kgo.NewClient(kgo.SeedBrokers(brokerOf(t, url)))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	consuming := func() bool {
		ask := kmsg.NewPtrDescribeGroupsRequest()
		ask.Groups = []string{"order-flow"}
		answer, err := ask.RequestWith(t.Context(), client)
		return err == nil && len(answer.Groups) == 1 && answer.Groups[0].State == "Stable" && len(answer.Groups[0].Members) == 1
	}
	begun := time.Now()
	if got := e.killedWhen(t, t.TempDir(), consuming); got != e.want {
		t.Errorf("got  %s\nwant %s", got, e.want)
	}
	if took := time.Since(begun); took > 25*time.Second { // the session of the dead alone was 45
		t.Errorf("it took %s", took)
	}
}

// brokerOf is the address of the broker, as the document of the stand-in says.
func brokerOf(t *testing.T, url string) string {
	t.Helper()
	resp, err := http.Get(url + "/asyncapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	document, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(document), "broker: {default: '")
	address, _, _ := strings.Cut(rest, "'")
	return address
}
