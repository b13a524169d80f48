package link

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/downbeat-dev/downbeat/internal/bundle"
	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/expr"
	"github.com/downbeat-dev/downbeat/internal/value"
	"github.com/downbeat-dev/downbeat/internal/workflow"
)

// authentication is a policy as evaluated.
type authentication struct {
	value any    // of outbound; nil: none
	key   string // tells policies apart, without their secrets; "" for none
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
	out := &authentication{key: bundle.Digest(value.JSON(value.Normalize(map[string]any{a.Scheme: settings}))) + " "}
	if a.Secret == "" {
		var err error
		if settings, err = s.evaluate(ctx, settings); err != nil {
			return nil, err
		}
	}
	out.value = map[string]any{a.Scheme: settings}
	s.authentications[a] = out
	return out, nil
}

func (s *session) evaluate(ctx context.Context, settings any) (any, error) {
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
		if !s.def.HasSecret(name) {
			return nil, &failure{"authentication", fmt.Sprintf("its authentication reads the secret %q, which use.secrets does not list", name), ""}
		}
		if s.l.o.Secrets == nil {
			return nil, &failure{"authentication", fmt.Sprintf("its authentication reads the secret %q, and there are no secrets here", name), ""}
		}
		v, err := s.l.o.Secrets.Secret(ctx, name)
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
