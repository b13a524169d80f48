package outbound

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
	"unicode/utf8"

	"github.com/downbeat-dev/downbeat/internal/event"
)

// Exchange makes the call as a task does: a status that is no success is a
// communication error (DSL 65, 66), and of the response comes the output in
// the given form: content, raw or response (DSL 63, 64).
func (c *Client) Exchange(ctx context.Context, call *Call, form string) (any, *event.Authorization, error) {
	response, err := c.Do(ctx, call)
	if err != nil {
		return nil, nil, err
	}
	end := 300
	if call.Follow {
		end = 400
	}
	if response.Status < 200 || response.Status >= end {
		return nil, nil, statusProblem(call, response)
	}
	output, err := outputOf(call, response, form)
	return output, response.Authorization, err
}

// Identity is what every request of a task says about itself.
type Identity struct {
	UserAgent      string
	Traceparent    string
	IdempotencyKey string
}

// Into puts the identity into the headers of a request, where the author has
// not set them. What only reads needs no idempotency key.
func (i Identity) Into(h http.Header, method string) {
	unlessSet := func(name, v string) {
		if _, set := h[name]; !set && v != "" {
			h.Set(name, v)
		}
	}
	unlessSet("User-Agent", i.UserAgent)
	unlessSet("Traceparent", i.Traceparent)
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodOptions:
	default:
		unlessSet("Idempotency-Key", i.IdempotencyKey)
	}
}

// statusProblem is the error of a status that is no success, DSL 66.
func statusProblem(call *Call, r *Response) *event.Problem {
	title := http.StatusText(r.Status)
	if title == "" {
		title = "Unexpected status"
	}
	detail := fmt.Sprintf("%s %s answered %d", call.Method, Shown(call.URL), r.Status)
	if r.Status >= 300 && r.Status < 400 {
		detail += "; redirects are followed with redirect: true"
	}
	more := map[string]any{}
	if after := r.Header.Get("Retry-After"); after != "" {
		more["retryAfter"] = after
	}
	media := mediaOf(r.Header.Get("Content-Type"))
	if len(r.Body) > 0 && (media.textual() || media.name == "" && utf8.Valid(r.Body)) {
		more["body"] = head(media.text(r.Body))
	}
	if media.name == "application/problem+json" {
		if t, d := problemDetails(r.Body); t != "" || d != "" {
			if t != "" {
				title = t
			}
			if d != "" {
				detail += ": " + d
			}
		}
	}
	if a := r.Authorization; a != nil && a.Parameter != "" {
		// Services that say what they did not like may repeat it.
		title, detail = strings.ReplaceAll(title, a.Parameter, "***"), strings.ReplaceAll(detail, a.Parameter, "***")
		for name, v := range more {
			if text, ok := v.(string); ok {
				more[name] = strings.ReplaceAll(text, a.Parameter, "***")
			}
		}
	}
	p := &event.Problem{Type: event.TypePrefix + event.Communication, Status: r.Status, Title: title, Detail: detail}
	if len(more) > 0 {
		p.More = more
	}
	return p
}

// outputOf makes the task's raw output, DSL 63 and 64.
func outputOf(call *Call, r *Response, form string) (any, error) {
	if form == "raw" {
		return base64.StdEncoding.EncodeToString(r.Body), nil
	}
	content, err := decode(r.Body, r.Header.Get("Content-Type"))
	if err != nil {
		return nil, &event.Problem{
			Type:   event.TypePrefix + event.Communication,
			Status: 500,
			Title:  "Response not understood",
			Detail: fmt.Sprintf("%s %s answered %d with a body that is not what its Content-Type says: %v; output: raw gives it as it is", call.Method, Shown(call.URL), r.Status, err),
		}
	}
	if form != "response" {
		return content, nil
	}
	return map[string]any{
		"request": map[string]any{
			"method":  r.Method,
			"uri":     r.URL.Redacted(),
			"headers": flat(r.Sent),
		},
		"statusCode": r.Status,
		"headers":    flat(r.Header),
		"content":    content,
	}, nil
}

func flat(h http.Header) map[string]any {
	m := make(map[string]any, len(h))
	for name, values := range h {
		m[name] = strings.ToValidUTF8(strings.Join(values, ", "), "\ufffd")
	}
	return m
}
