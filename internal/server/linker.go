package server

import (
	"context"
	"path/filepath"
	"sync"

	"github.com/downbeat-dev/downbeat/internal/link"
	"github.com/downbeat-dev/downbeat/internal/secret"
)

// Linker makes what links definitions, as a node of this configuration would:
// without opening the data directory, of which it uses the cache alone.
func Linker(c Config, offline, lenient bool) (*link.Linker, error) {
	return link.New(link.Options{
		Outbound: c.outbound(), Cache: filepath.Join(c.DataDir, "cache"), Offline: offline, Lenient: lenient,
		Secrets: &lateSecrets{config: &c}, Environ: c.Environ, UserAgent: "downbeat/" + c.Version, Clock: c.Clock,
	})
}

// lateSecrets opens the stores of secrets when one is first asked for.
type lateSecrets struct {
	config   *Config
	once     sync.Once
	resolver *secret.Resolver
	err      error
}

// Secret returns a secret of the configuration's stores.
func (s *lateSecrets) Secret(ctx context.Context, name string) (any, error) {
	s.once.Do(func() { s.resolver, _, s.err = s.config.secrets() })
	if s.err != nil {
		return nil, s.err
	}
	return s.resolver.Secret(ctx, name)
}
