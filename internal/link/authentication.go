package link

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/downbeat-dev/downbeat/internal/bundle"
	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/expr"
	"github.com/downbeat-dev/downbeat/internal/outbound"
	"github.com/downbeat-dev/downbeat/internal/value"
	"github.com/downbeat-dev/downbeat/internal/workflow"
)

// authentication is a policy as evaluated.
type authentication struct {
	value   any              // of outbound; nil: none
	key     string           // tells policies apart, without their secrets; "" for none
	secrets outbound.Secrets // that it may name
}

// listed gives the secrets that the definition lists, and no others: who wrote
// an attached document says where its own documents are, and with what secret.
type listed struct {
	def  *workflow.Definition
	from outbound.Secrets
}

// Secret returns a listed secret.
func (l listed) Secret(ctx context.Context, name string) (any, error) {
	var why string
	switch {
	case !l.def.HasSecret(name):
		why = "which use.secrets does not list"
	case l.from == nil:
		why = "and there are no secrets here"
	default:
		return l.from.Secret(ctx, name)
	}
	return nil, &event.Problem{
		Type: event.TypePrefix + event.Forbidden, Status: http.StatusForbidden, Title: "Secret not available",
		Detail: fmt.Sprintf("its authentication reads the secret %q, %s", name, why),
	}
}

// authentication evaluates a policy: written in place, of use.authentications,
// or from a secret. Its expressions may read $secrets and nothing else, for
// there is no run yet.
func (s *session) authentication(ctx context.Context, a *workflow.Auth) (*authentication, error) {
	if a != nil && a.Use != "" {
		a = s.def.FindAuth(a.Use)
	}
	if a == nil || a.Scheme == "" {
		return &authentication{}, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if known := s.authentications[a]; known != nil {
		return known, nil
	}
	var settings any = map[string]any{"use": a.Secret}
	if a.Secret == "" {
		settings = a.With.Any
	}
	out := &authentication{secrets: listed{s.def, s.l.o.Secrets}, key: bundle.Digest(value.JSON(value.Normalize(map[string]any{a.Scheme: settings}))) + " "}
	if a.Secret == "" {
		var err error
		if settings, err = s.evaluate(ctx, settings, out.secrets); err != nil {
			return nil, err
		}
	}
	out.value = map[string]any{a.Scheme: settings}
	s.authentications[a] = out
	return out, nil
}

func (s *session) evaluate(ctx context.Context, settings any, from outbound.Secrets) (any, error) {
	t, errs := expr.CompileTemplate(settings, expr.TemplateOptions{Scope: []string{"$secrets"}, Loose: s.def.Evaluate.Loose})
	if len(errs) > 0 {
		return nil, &failure{"authentication", "its authentication cannot be evaluated before a run: " + errs[0].Error(), "write it out, read ${ $secrets.name }, or name a secret by use:"}
	}
	names := t.SecretNames()
	if t.ReadsSecrets() && len(names) == 0 {
		for _, n := range s.def.Use.Secrets {
			names = append(names, n.Name)
		}
	}
	secrets := map[string]any{}
	for _, name := range names {
		v, err := from.Secret(ctx, name)
		if p, ok := errors.AsType[*event.Problem](err); ok {
			return nil, &failure{"authentication", p.Detail, ""}
		} else if err != nil {
			return nil, &failure{"authentication", err.Error(), ""}
		}
		secrets[name] = value.Normalize(v)
	}
	const steps = 1 << 20
	v, err := t.Eval(&expr.Budget{Steps: steps}, nil, func(name string) any {
		if name == "$secrets" {
			return secrets
		}
		return nil
	})
	if err != nil {
		return nil, &failure{"authentication", "its authentication cannot be evaluated: " + s.mask(err.Error(), secrets), ""}
	}
	return v, nil
}

// mask keeps the text of secrets out of a message.
func (*session) mask(message string, secrets map[string]any) string {
	var texts []string
	for _, v := range secrets {
		if text, ok := v.(string); ok && text != "" {
			texts = append(texts, text)
		}
	}
	slices.SortFunc(texts, func(a, b string) int { return len(b) - len(a) })
	for _, text := range texts {
		message = strings.ReplaceAll(message, text, "***")
	}
	return message
}
