package grpc

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"

	_ "google.golang.org/genproto/googleapis/rpc/errdetails" // the usual details of errors
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/executor"
	"github.com/downbeat-dev/downbeat/internal/outbound"
	"github.com/downbeat-dev/downbeat/internal/value"
)

// outcome is how a status of gRPC is said in the standard's errors.
type outcome struct {
	family, name, title string
	status              int
}

var outcomes = map[codes.Code]outcome{
	codes.Canceled:           {event.Communication, "CANCELLED", "Cancelled by the server", 499},
	codes.Unknown:            {event.Communication, "UNKNOWN", "Unknown error", 500},
	codes.InvalidArgument:    {event.Communication, "INVALID_ARGUMENT", "Invalid argument", 400},
	codes.DeadlineExceeded:   {event.Timeout, "DEADLINE_EXCEEDED", "Deadline exceeded", 408},
	codes.NotFound:           {event.Communication, "NOT_FOUND", "Not found", 404},
	codes.AlreadyExists:      {event.Communication, "ALREADY_EXISTS", "Already exists", 409},
	codes.PermissionDenied:   {event.Forbidden, "PERMISSION_DENIED", "Permission denied", 403},
	codes.ResourceExhausted:  {event.Communication, "RESOURCE_EXHAUSTED", "Resource exhausted", 429},
	codes.FailedPrecondition: {event.Communication, "FAILED_PRECONDITION", "Failed precondition", 400},
	codes.Aborted:            {event.Communication, "ABORTED", "Aborted", 409},
	codes.OutOfRange:         {event.Communication, "OUT_OF_RANGE", "Out of range", 400},
	codes.Unimplemented:      {event.Communication, "UNIMPLEMENTED", "Not implemented", 501},
	codes.Internal:           {event.Communication, "INTERNAL", "Internal error", 500},
	codes.Unavailable:        {event.Communication, "UNAVAILABLE", "Unavailable", 503},
	codes.DataLoss:           {event.Communication, "DATA_LOSS", "Data loss", 500},
	codes.Unauthenticated:    {event.Authentication, "UNAUTHENTICATED", "Not authenticated", 401},
}

// problem says what went wrong with a call.
func (c *call) problem(err error) error {
	if p, ok := errors.AsType[*event.Problem](err); ok {
		return p
	}
	s := status.Convert(err)
	o, ok := outcomes[s.Code()]
	if !ok {
		o = outcome{event.Communication, fmt.Sprintf("CODE_%d", s.Code()), "Unknown error", 500}
	}
	if s.Code() == codes.Unavailable {
		// The next attempt shall connect at once, not after a pause.
		c.connection.ResetConnectBackoff()
		if why := c.connection.why(); why != nil {
			if p, ok := errors.AsType[*event.Problem](why); ok {
				return p // the egress rules
			}
			return executor.NewProblem(o.family, o.status, o.title, "%s: %s", c.to.address, outbound.Explain(why, c.to.address))
		}
	}
	what := c.to.address
	if c.method != nil {
		what = fmt.Sprintf("%s at %s", c.method.FullName(), c.to.address)
	}
	detail := fmt.Sprintf("%s answered %s", what, o.name)
	if m := head(s.Message()); m != "" {
		detail += ": " + m
	}
	if strings.Contains(s.Message(), "first record does not look like a TLS handshake") {
		detail += "; the server does not speak TLS: write http:// before the host"
	}
	p := executor.NewProblem(o.family, o.status, o.title, "%s", detail)
	p.More = map[string]any{"grpcCode": o.name}
	var details []any
	for _, a := range s.Proto().GetDetails() {
		d := c.detail(a)
		details = append(details, d)
		if m, ok := d.(map[string]any); ok && a.MessageName() == "google.rpc.RetryInfo" {
			if delay, err := time.ParseDuration(executor.Text(m["retryDelay"])); err == nil {
				p.More["retryAfter"] = fmt.Sprint(int(delay.Round(time.Second).Seconds()))
			}
		}
	}
	if details != nil {
		p.More["details"] = details
	}
	return p
}

// detail is one of the details of an error: as JSON where its type is known.
func (c *call) detail(a *anypb.Any) any {
	b, err := protojson.MarshalOptions{Resolver: c.types}.Marshal(a)
	if err == nil {
		if v, err := value.Decode(b); err == nil {
			return v
		}
	}
	return map[string]any{"@type": strings.ToValidUTF8(a.GetTypeUrl(), "\ufffd"), "value": base64.StdEncoding.EncodeToString(a.GetValue())}
}

// head is the beginning of a message as errors show it.
func head(text string) string {
	const most = 2 << 10
	if len(text) <= most {
		return strings.ToValidUTF8(text, "\ufffd")
	}
	return strings.ToValidUTF8(text[:most], "") + "…"
}
