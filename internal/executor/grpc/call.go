package grpc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/executor"
	"github.com/downbeat-dev/downbeat/internal/outbound"
	"github.com/downbeat-dev/downbeat/internal/value"
)

// call is one call of a method.
type call struct {
	connection *connection
	to         target
	metadata   metadata.MD
	types      types
	method     protoreflect.MethodDescriptor
	arguments  any
	deadline   time.Time // zero: none
}

// metadataOf is what a call says about itself, where the author has not said it.
func metadataOf(r *executor.Request, a *arguments, authorization *event.Authorization) (metadata.MD, error) {
	h, err := outbound.Headers(a.Metadata)
	if err != nil {
		return nil, err
	}
	md := metadata.MD{}
	for name, values := range h {
		if name = strings.ToLower(name); strings.HasPrefix(name, "grpc-") || strings.ContainsAny(name, "!#$%&'*+^`|~") {
			return nil, invalid("metadata: %q cannot be a key; keys have letters, digits, hyphens, underscores and dots, and do not begin with grpc-", name)
		}
		for _, v := range values {
			if strings.IndexFunc(v, func(r rune) bool { return r < ' ' || r > '~' }) >= 0 && !strings.HasSuffix(name, "-bin") {
				return nil, invalid("metadata: the value of %s holds characters beyond printable ASCII; only keys that end with -bin may", name)
			}
		}
		md.Append(name, values...)
	}
	set := func(name, v string) {
		if v != "" && len(md.Get(name)) == 0 {
			md.Set(name, v)
		}
	}
	set("idempotency-key", r.IdempotencyKey)
	set("traceparent", r.Traceparent)
	if authorization != nil {
		md.Set("authorization", authorization.Scheme+" "+authorization.Parameter)
	}
	return md, nil
}

// patience is how long a call waits, after its deadline, to be cancelled.
const patience = 2 * time.Second

// do calls the method and makes the output of what it answers. The server is
// told the deadline; that it has passed says who set it, the workflow: the task
// is then cancelled from there.
func (c *call) do(ctx context.Context) (any, error) {
	if c.deadline.IsZero() {
		return c.exchange(ctx)
	}
	limited, cancel := context.WithDeadline(ctx, c.deadline)
	defer cancel()
	output, err := c.exchange(limited)
	if err != nil && limited.Err() != nil {
		late, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		<-late.Done()
	}
	return output, err
}

func (c *call) exchange(ctx context.Context) (any, error) {
	messages, err := c.messages()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(metadata.NewOutgoingContext(ctx, c.metadata))
	defer cancel()
	stream, err := c.connection.NewStream(ctx, &grpc.StreamDesc{
		StreamName: string(c.method.Name()), ClientStreams: c.method.IsStreamingClient(), ServerStreams: c.method.IsStreamingServer(),
	}, fmt.Sprintf("/%s/%s", c.method.Parent().FullName(), c.method.Name()))
	if err != nil {
		return nil, c.problem(err)
	}
	sent := make(chan error, 1)
	go func() { sent <- send(stream, messages) }()
	output, err := c.receive(stream)
	cancel() // what was not sent by now is not wanted
	if sendErr := <-sent; err == nil && sendErr != nil && !c.method.IsStreamingServer() && output == nil {
		err = sendErr
	}
	if err != nil {
		return nil, c.problem(err)
	}
	return output, nil
}

// messages makes the messages of the arguments.
func (c *call) messages() ([]*dynamicpb.Message, error) {
	list := []any{c.arguments}
	if items, ok := c.arguments.([]any); ok {
		if !c.method.IsStreamingClient() {
			return nil, invalid("/arguments is an array, but the method %s takes one message, not a stream; it must be an object", c.method.FullName())
		}
		list = items
	} else if c.arguments == nil && !c.method.IsStreamingClient() {
		list = []any{map[string]any{}}
	} else if c.arguments == nil {
		list = nil
	}
	all := make([]*dynamicpb.Message, 0, len(list))
	for i, item := range list {
		at := "/arguments"
		if len(list) > 1 {
			at = fmt.Sprintf("/arguments/%d", i)
		}
		m := dynamicpb.NewMessage(c.method.Input())
		if err := (protojson.UnmarshalOptions{Resolver: c.types}).Unmarshal(value.JSON(item), m); err != nil {
			return nil, invalid("%s is no message %s: %s", at, c.method.Input().FullName(), plain(err))
		}
		all = append(all, m)
	}
	return all, nil
}

// plain is an error of package protojson without its prefix.
func plain(err error) string {
	// The package varies the space after its prefix on purpose.
	return strings.TrimLeft(strings.TrimPrefix(err.Error(), "proto:"), " \u00a0")
}

func send(stream grpc.ClientStream, messages []*dynamicpb.Message) error {
	for _, m := range messages {
		if err := stream.SendMsg(m); errors.Is(err, io.EOF) {
			return nil // the server has ended the call; receive says how
		} else if err != nil {
			return err
		}
	}
	return stream.CloseSend()
}

// receive reads to the end of the call.
func (c *call) receive(stream grpc.ClientStream) (any, error) {
	all, size := []any{}, 0
	for {
		m := dynamicpb.NewMessage(c.method.Output())
		if err := stream.RecvMsg(m); errors.Is(err, io.EOF) && c.method.IsStreamingServer() {
			return all, nil
		} else if err != nil {
			return nil, err
		}
		b, err := protojson.MarshalOptions{EmitDefaultValues: true, Resolver: c.types}.Marshal(m)
		if err != nil {
			return nil, executor.NewProblem(event.Communication, 500, "Response not understood", "the method %s at %s answered with a message that has no JSON form: %s", c.method.FullName(), c.to.address, plain(err))
		}
		v, err := value.Decode(b)
		if err != nil {
			return nil, fmt.Errorf("read the JSON of a message: %w", err)
		}
		if !c.method.IsStreamingServer() {
			return v, nil // it was the only one: the stream has seen to that
		}
		if size += len(b); size > maxOutput {
			return nil, executor.NewProblem(event.Communication, 500, "Response too large", "the method %s at %s streamed more than %d bytes, which is the limit; ask for less, or by pages", c.method.FullName(), c.to.address, maxOutput)
		}
		all = append(all, v)
	}
}
