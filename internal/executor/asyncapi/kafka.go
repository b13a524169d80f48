package asyncapi

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/sasl/oauth"
	"github.com/twmb/franz-go/pkg/sasl/plain"

	"github.com/downbeat-dev/downbeat/internal/executor"
)

// kafka connects; the error of the first connection is told at once. The
// connections last as long as life.
func (l *link) kafka(ctx, life context.Context, more ...kgo.Opt) (*kgo.Client, error) {
	var seeds []string
	for s := range strings.SplitSeq(l.channel.server.address, ",") {
		seeds = append(seeds, withPort(strings.TrimSpace(s), "9092"))
	}
	var mu sync.Mutex
	var why error
	options := append([]kgo.Opt{
		kgo.SeedBrokers(seeds...), kgo.ClientID(l.userAgent), kgo.RequestRetries(3),
		kgo.Dialer(func(dialing context.Context, _, address string) (net.Conn, error) {
			c, err := l.dial(dialing, address)
			if err == nil {
				context.AfterFunc(life, func() { _ = c.Close() }) // the library waits for answers longer than that
			}
			mu.Lock()
			defer mu.Unlock()
			why = err
			return c, err
		}),
	}, more...)
	if user, password := l.credentials(); user != "" {
		options = append(options, kgo.SASL(plain.Auth{User: user, Pass: password}.AsMechanism()))
	} else if password != "" {
		options = append(options, kgo.SASL(oauth.Auth{Token: password}.AsMechanism()))
	}
	c, err := kgo.NewClient(options...)
	if err != nil {
		return nil, invalid("the server %q cannot be used: %v", l.channel.server.name, err)
	}
	answer, cancel := context.WithTimeoutCause(ctx, answerTimeout, errNoAnswer)
	defer cancel()
	if err := c.Ping(answer); err != nil {
		if answer.Err() != nil && ctx.Err() == nil {
			err = errNoAnswer
		}
		mu.Lock()
		if why != nil && ctx.Err() == nil && !refused(err) {
			err = why
		}
		mu.Unlock()
		c.Close()
		return nil, err
	}
	return c, nil
}

// topic is that of the channel's binding, else its address.
func (l *link) topic() string {
	if t := stringOf(l.channel.bindings["topic"]); t != "" {
		return t
	}
	return l.channel.address
}

// publishKafka sends a record and waits until all replicas in sync have it.
// The header key of the message is the key of the record.
func publishKafka(ctx context.Context, l *link, m *message) error {
	c, err := l.kafka(ctx, ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	record := &kgo.Record{Topic: l.topic(), Value: m.body}
	add := func(name, v string) {
		if v != "" && m.headers[name] == "" {
			record.Headers = append(record.Headers, kgo.RecordHeader{Key: name, Value: []byte(v)})
		}
	}
	for name, v := range m.headers {
		if name == "key" {
			record.Key = []byte(v)
			continue
		}
		record.Headers = append(record.Headers, kgo.RecordHeader{Key: name, Value: []byte(v)})
	}
	add("content-type", m.contentType)
	add("idempotency-key", l.request.IdempotencyKey)
	add("traceparent", l.request.Traceparent)
	return c.ProduceSync(ctx, record).FirstErr()
}

// The terms under which a subscription is a member of its group. The broker
// gives up a member that is silent for the session: a process that died.
const (
	kafkaSession = 10 * time.Second
	kafkaJoining = time.Minute     // until a subscription fails that the broker does not let in
	kafkaLeaving = 2 * time.Second // until the broker is left alone with a member that is gone
)

var (
	errJoined    = errors.New("asyncapi: the broker has assigned the partitions")
	errNotJoined = fmt.Errorf("the broker has not let the subscription join its group for %s", kafkaJoining)
)

type kafkaSource struct {
	client   *kgo.Client
	group    string
	instance string
	end      context.CancelFunc // of the connections
	early    []*kgo.Record      // came while it was waited for the group
	taken    []*kgo.Record
}

// subscribeKafka joins the group of the operation's binding, else one of the
// task's own: all runs of the task share it. In the group the task is known by
// a name of its own, so that the attempt after a crash takes the place of the
// dead process and need not wait until the broker has given that up.
func subscribeKafka(ctx context.Context, l *link) (source, error) {
	s := &kafkaSource{group: schemaText(l.channel.operation["groupId"])}
	if s.group == "" {
		s.group = "downbeat." + l.request.Namespace + "." + l.request.WorkflowName + l.request.Reference
	}
	name := sha256.Sum256([]byte(l.request.IdempotencyKey))
	s.instance = "downbeat-" + hex.EncodeToString(name[:16])
	// A subscription that is cancelled still has to leave.
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	s.end = end
	joining, joined := context.WithCancelCause(ctx)
	defer joined(nil)
	connected := context.AfterFunc(ctx, end)
	c, err := l.kafka(ctx, life, kgo.ConsumerGroup(s.group), kgo.InstanceID(s.instance), kgo.SessionTimeout(kafkaSession),
		kgo.ConsumeTopics(l.topic()), kgo.DisableAutoCommit(),
		kgo.OnPartitionsAssigned(func(context.Context, *kgo.Client, map[string][]int32) { joined(errJoined) }))
	connected()
	if err != nil {
		end()
		return nil, err
	}
	s.client = c
	if err := s.join(joining); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

// join waits until the broker has let the subscription in.
func (s *kafkaSource) join(ctx context.Context) error {
	patient, cancel := context.WithTimeoutCause(ctx, kafkaJoining, errNotJoined)
	defer cancel()
	fetches := s.client.PollRecords(patient, 1)
	s.early = fetches.Records()
	if len(s.early) > 0 || errors.Is(context.Cause(patient), errJoined) {
		return nil
	}
	if patient.Err() != nil {
		return context.Cause(patient)
	}
	return fetches.Err()
}

// schemaText is a text that a document gives itself, or as the one that a schema allows.
func schemaText(v any) string {
	if m := objectOf(v); m != nil {
		if list := listOf(m["enum"]); len(list) > 0 {
			return executor.Text(list[0])
		}
		if m["const"] != nil {
			return executor.Text(m["const"])
		}
		return executor.Text(m["default"])
	}
	return executor.Text(v)
}

func (s *kafkaSource) receive(ctx context.Context) (*message, error) {
	for {
		if len(s.early) > 0 {
			r := s.early[0]
			s.early = s.early[1:]
			return s.take(r), nil
		}
		fetches := s.client.PollRecords(ctx, 1)
		for _, e := range fetches.Errors() {
			return nil, e.Err
		}
		s.early = fetches.Records()
	}
}

// take is the message of a record, which is to be acknowledged.
func (s *kafkaSource) take(r *kgo.Record) *message {
	s.taken = append(s.taken, &kgo.Record{Topic: r.Topic, Partition: r.Partition, Offset: r.Offset, LeaderEpoch: r.LeaderEpoch})
	m := &message{body: r.Value, headers: map[string]string{}}
	if len(r.Key) > 0 {
		m.headers["key"] = string(r.Key)
	}
	for _, h := range r.Headers {
		m.headers[h.Key] = string(h.Value)
		if strings.EqualFold(h.Key, "content-type") {
			m.contentType = string(h.Value)
		}
	}
	return m
}

func (s *kafkaSource) acknowledge(ctx context.Context) error {
	taken := s.taken
	s.taken = nil
	if len(taken) == 0 {
		return nil
	}
	return s.client.CommitRecords(ctx, taken...)
}

// close leaves the group and does not wait for what the library still waits
// for. The library does not leave by itself where members have names.
func (s *kafkaSource) close() {
	member, _ := s.client.GroupMetadata()
	_ = s.client.LeaveGroupContext(nil) //nolint:staticcheck // nil says: stop, and do not wait
	leave := kmsg.NewPtrLeaveGroupRequest()
	leave.Group, leave.MemberID = s.group, member
	who := kmsg.NewLeaveGroupRequestMember()
	who.MemberID, who.InstanceID = member, &s.instance
	leave.Members = append(leave.Members, who)
	ctx, cancel := context.WithTimeout(s.client.Context(), kafkaLeaving)
	defer cancel()
	_, _ = leave.RequestWith(ctx, s.client) // else the session of the member ends soon
	s.end()
	s.client.Close()
}
