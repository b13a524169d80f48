package asyncapi

import (
	"context"
	"net"
	"strings"
	"sync"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl/oauth"
	"github.com/twmb/franz-go/pkg/sasl/plain"

	"github.com/downbeat-dev/downbeat/internal/executor"
)

// kafka connects; the error of the first connection is told at once.
func (l *link) kafka(ctx context.Context, more ...kgo.Opt) (*kgo.Client, error) {
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
				context.AfterFunc(ctx, func() { _ = c.Close() }) // the library waits for answers longer than that
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
	if err := c.Ping(ctx); err != nil {
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
	c, err := l.kafka(ctx)
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

type kafkaSource struct {
	client *kgo.Client
	taken  []*kgo.Record
}

// subscribeKafka joins the group of the operation's binding, else one of the
// task's own: all runs of the task share it.
func subscribeKafka(ctx context.Context, l *link) (source, error) {
	group := schemaText(l.channel.operation["groupId"])
	if group == "" {
		group = "downbeat." + l.request.Namespace + "." + l.request.WorkflowName + l.request.Reference
	}
	c, err := l.kafka(ctx, kgo.ConsumerGroup(group), kgo.ConsumeTopics(l.topic()), kgo.DisableAutoCommit())
	if err != nil {
		return nil, err
	}
	return &kafkaSource{client: c}, nil
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
		fetches := s.client.PollRecords(ctx, 1)
		for _, e := range fetches.Errors() {
			return nil, e.Err
		}
		for r := range fetches.RecordsAll() {
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
			return m, nil
		}
	}
}

func (s *kafkaSource) acknowledge(ctx context.Context) error {
	taken := s.taken
	s.taken = nil
	if len(taken) == 0 {
		return nil
	}
	return s.client.CommitRecords(ctx, taken...)
}

func (s *kafkaSource) close() { s.client.Close() }
