package asyncapi_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/executor/asyncapi"
	"github.com/downbeat-dev/downbeat/internal/executor/executortest"
)

// kafka is a broker in this process, and a document for it.
func kafka(t *testing.T) (*kfake.Cluster, string) {
	t.Helper()
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.Ports(0), kfake.SeedTopics(1, "greetings"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c, write(t, "kafka", c.ListenAddrs()[0], "talk", "kafka: {topic: greetings, groupId: {type: string, enum: [workers]}}")
}

// DSL 73-77 over Kafka, by a broker in this process.
func TestKafka(t *testing.T) {
	t.Parallel()
	_, document := kafka(t)
	behave(t, document, true, true)
}

// dies is a subscription of more messages than there are, whose process dies:
// the broker hears nothing of its member any more.
func dies(t *testing.T, c *kfake.Cluster, document string) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	r := request(t, call(document, "subscription", object{"consume": object{"amount": 100}}))
	done := make(chan error, 1)
	go func() {
		_, err := newExecutor(t).Execute(ctx, r)
		done <- err
	}()
	if _, err := c.WaitGroupStable(t.Context(), "workers", 1); err != nil {
		t.Fatal(err)
	}
	c.ControlKey(int16(kmsg.LeaveGroup), func(kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		return nil, errors.New("the member is dead"), true
	})
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
	if g := c.GroupInfo("workers"); g == nil || len(g.Members) != 1 {
		t.Fatalf("the dead member has left: %v", g)
	}
}

// receives expects what a subscription with a duration gives.
func receives(t *testing.T, e *asyncapi.Executor, document, key, lasts string, want ...any) {
	t.Helper()
	r := request(t, call(document, "subscription", object{"consume": object{"amount": len(want), "for": lasts}}))
	if key != "" {
		r.IdempotencyKey = key
	}
	list, err := subscribing(t, e, r)()
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, payloads(list)); d != "" {
		t.Error(d)
	}
}

// DSL 77: who goes on after a crash takes the place that the dead process had
// in the group, and gets at once what that had received.
func TestKafkaResumes(t *testing.T) {
	t.Parallel()
	c, document := kafka(t)
	e := newExecutor(t)
	publish(t, e, document, object{"n": 1}, nil)
	publish(t, e, document, object{"n": 2}, nil)
	dies(t, c, document)
	begun := time.Now()
	receives(t, e, document, "", "PT1S", object{"n": 1}, object{"n": 2})
	if took := time.Since(begun); took > 6*time.Second {
		t.Errorf("it took %s", took)
	}
}

// DSL 77: another run waits for the broker to give up the dead process, which is
// soon, and its duration begins when it has joined.
func TestKafkaAfterAnother(t *testing.T) {
	t.Parallel()
	c, document := kafka(t)
	e := newExecutor(t)
	publish(t, e, document, object{"n": 1}, nil)
	dies(t, c, document)
	begun := time.Now()
	receives(t, e, document, "another run", "PT1S", object{"n": 1})
	if took := time.Since(begun); took > 15*time.Second {
		t.Errorf("it took %s", took)
	}
}

// DSL 77: a duration counts from when the broker has let the subscription join.
func TestKafkaJoinsSlowly(t *testing.T) {
	t.Parallel()
	c, document := kafka(t)
	e := newExecutor(t)
	publish(t, e, document, object{"n": 1}, nil)
	c.ControlKey(int16(kmsg.JoinGroup), func(kmsg.Request) (kmsg.Response, error, bool) {
		c.SleepControl(func() { time.Sleep(time.Second) })
		return nil, nil, false
	})
	receives(t, e, document, "", "PT0.3S", object{"n": 1})
}

// A task that is cancelled while it joins ends, and its member is gone.
func TestKafkaCancelledWhileJoining(t *testing.T) {
	t.Parallel()
	c, document := kafka(t)
	joining, ended := make(chan struct{}, 100), make(chan struct{})
	c.ControlKey(int16(kmsg.JoinGroup), func(kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		joining <- struct{}{}
		c.SleepControl(func() { <-ended })
		return nil, nil, false
	})
	t.Cleanup(func() { close(ended) })
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-joining
		cancel()
	}()
	begun := time.Now()
	_, err := newExecutor(t).Execute(ctx, request(t, call(document, "subscription", object{"consume": object{"amount": 1}})))
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if took := time.Since(begun); took > 5*time.Second {
		t.Errorf("it took %s", took)
	}
}

// A member that ends leaves its group, though the group knows it by a name of its own.
func TestKafkaLeaves(t *testing.T) {
	t.Parallel()
	c, document := kafka(t)
	e := newExecutor(t)
	publish(t, e, document, object{"n": 1}, nil)
	receives(t, e, document, "", "PT5S", object{"n": 1})
	if g := c.GroupInfo("workers"); g == nil || len(g.Members) != 0 {
		t.Errorf("the group has members: %+v", g)
	}
}

// Who may not join is told so, and does not wait for ever.
func TestKafkaRefusesGroup(t *testing.T) {
	t.Parallel()
	c, document := kafka(t)
	c.ControlKey(int16(kmsg.JoinGroup), func(r kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		answer := r.ResponseKind().(*kmsg.JoinGroupResponse)
		answer.ErrorCode = 30 // GROUP_AUTHORIZATION_FAILED
		return answer, nil, true
	})
	_, err := subscribing(t, newExecutor(t), request(t, call(document, "subscription", object{"consume": object{"amount": 1}})))()
	if p := executortest.CheckProblem(t, err); p.Status != 403 || p.Type != event.TypePrefix+event.Forbidden {
		t.Errorf("got %v", p)
	}
}
