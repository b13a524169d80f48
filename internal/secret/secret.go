// Package secret resolves secrets by name, keeps them out of what people see,
// and seals what is written to disk.
//
// A Store finds secrets somewhere (a file, the environment, later a vault); a
// Resolver asks several in turn. A Masker replaces the values in text and
// streams. A Sealer encrypts journal rows with the key of the data directory.
package secret

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/value"
)

// Store finds secrets by name. It is asked at each attempt, so a store that
// caches must notice changes.
type Store interface {
	// Secret returns a secret; an error that is ErrNotFound when there is none.
	Secret(ctx context.Context, name string) (event.Secret, error)
	// Names lists the secrets, sorted.
	Names(ctx context.Context) ([]string, error)
}

// ErrNotFound says that a store has no secret of that name.
var ErrNotFound = errors.New("secret not found")

// Resolver asks stores in turn; the first that has the secret gives it. The
// zero Resolver has no secrets.
type Resolver struct{ stores []Store }

// NewResolver makes a Resolver of stores, the first to be asked first.
func NewResolver(stores ...Store) *Resolver { return &Resolver{slices.Clone(stores)} }

// Resolve returns a secret; ErrNotFound when no store has it.
func (r *Resolver) Resolve(ctx context.Context, name string) (event.Secret, error) {
	for _, s := range r.stores {
		found, err := s.Secret(ctx, name)
		if errors.Is(err, ErrNotFound) {
			continue
		}
		if err != nil {
			return event.Secret{}, fmt.Errorf("resolve secret %q: %w", name, err)
		}
		return found, nil
	}
	return event.Secret{}, fmt.Errorf("%w: %q", ErrNotFound, name)
}

// Secret returns the value of a secret, or the problem that a task ends with
// when there is none (D17).
func (r *Resolver) Secret(ctx context.Context, name string) (any, error) {
	found, err := r.Resolve(ctx, name)
	if errors.Is(err, ErrNotFound) {
		return nil, &event.Problem{
			Type:   event.TypePrefix + event.Forbidden,
			Status: 403,
			Title:  "Secret not found",
			Detail: fmt.Sprintf("there is no secret %q: put it into the file of --secrets, or set %s", name, Variable(name)),
		}
	}
	if err != nil {
		return nil, &event.Problem{Type: event.TypePrefix + event.Forbidden, Status: 403, Title: "Secret not readable", Detail: err.Error()}
	}
	v, err := found.Value.Any()
	if err != nil {
		return nil, fmt.Errorf("read secret %q: %w", name, err)
	}
	return v, nil
}

// Names lists the secrets of all stores, sorted.
func (r *Resolver) Names(ctx context.Context) ([]string, error) {
	var all []string
	for _, s := range r.stores {
		names, err := s.Names(ctx)
		if err != nil {
			return nil, fmt.Errorf("list secrets: %w", err)
		}
		all = append(all, names...)
	}
	slices.Sort(all)
	return slices.Compact(all), nil
}

// Map is a store of secrets that are given.
type Map map[string]any

var _ Store = Map(nil)

// Secret returns one of the map.
func (m Map) Secret(_ context.Context, name string) (event.Secret, error) {
	v, ok := m[name]
	if !ok {
		return event.Secret{}, fmt.Errorf("%w: %q", ErrNotFound, name)
	}
	return event.Secret{Name: name, Value: value.FromAny(value.Normalize(v))}, nil
}

// Names lists the names of the map.
func (m Map) Names(context.Context) ([]string, error) { return sortedKeys(m), nil }

// Environment is a store of environment variables DOWNBEAT_SECRET_<NAME>.
type Environment struct{ variables map[string]string }

var _ Store = (*Environment)(nil)

const variablePrefix = "DOWNBEAT_SECRET_"

// Variable names the environment variable of a secret: upper case, with '_'
// for everything but letters and digits.
func Variable(name string) string {
	return variablePrefix + strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z':
			return r - 'a' + 'A'
		case r >= 'A' && r <= 'Z', r >= '0' && r <= '9':
			return r
		}
		return '_'
	}, name)
}

// NewEnvironment takes the secrets out of an environment as os.Environ gives it.
func NewEnvironment(environ []string) *Environment {
	e := &Environment{variables: map[string]string{}}
	for _, kv := range environ {
		if name, v, ok := strings.Cut(kv, "="); ok && strings.HasPrefix(name, variablePrefix) {
			e.variables[name] = v
		}
	}
	return e
}

// Secret returns the value of the variable: an object when it is the JSON of
// one, else the text as it is.
func (e *Environment) Secret(_ context.Context, name string) (event.Secret, error) {
	text, ok := e.variables[Variable(name)]
	if !ok {
		return event.Secret{}, fmt.Errorf("%w: %q", ErrNotFound, name)
	}
	s := event.Secret{Name: name, Version: "environment", Value: value.FromAny(text)}
	if strings.HasPrefix(strings.TrimSpace(text), "{") {
		if v, err := value.Decode([]byte(text)); err == nil {
			s.Value = value.FromAny(v)
		}
	}
	return s, nil
}

// Names lists the variables, in lower case: how the author writes the names
// cannot be told.
func (e *Environment) Names(context.Context) ([]string, error) {
	names := make([]string, 0, len(e.variables))
	for name := range e.variables {
		names = append(names, strings.ToLower(strings.TrimPrefix(name, variablePrefix)))
	}
	slices.Sort(names)
	return names, nil
}
