package server

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/rogpeppe/go-internal/lockedfile"

	"github.com/downbeat-dev/downbeat/internal/outbound"
	"github.com/downbeat-dev/downbeat/internal/secret"
)

// tokens keeps refresh tokens in the data directory: one file each, sealed with
// the directory's key, and replaced as a whole. Processes that share the
// directory renew one after another, for many authorities take the use of an
// old token for a theft.
type tokens struct{ dir string }

var _ outbound.TokenStore = (*tokens)(nil)

// newTokens gives the store of a data directory; nil without one.
func newTokens(dataDir string) outbound.TokenStore {
	if dataDir == "" {
		return nil
	}
	return &tokens{dataDir}
}

// Renew replaces what is kept under name by what renew makes of it.
func (t *tokens) Renew(ctx context.Context, name string, renew func(current string) (next string, err error)) error {
	key, err := secret.OpenKey(t.dir)
	if err != nil {
		return fmt.Errorf("keep a refresh token: %w", err)
	}
	sealer := secret.NewSealer(key)
	file := filepath.Join(t.dir, "tokens", name)
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return fmt.Errorf("keep a refresh token: %w", err)
	}
	unlock, err := lock(ctx, file+".lock")
	if err != nil {
		return err
	}
	defer unlock()
	current, err := readToken(sealer, file, name)
	if err != nil {
		return err
	}
	next, err := renew(current)
	switch {
	case err != nil:
		return err
	case next == current:
		return nil
	case next == "":
		return os.Remove(file)
	}
	if err := writeToken(file, sealer.Seal(nil, []byte(next), []byte(name))); err != nil {
		return fmt.Errorf("keep a refresh token: %w", err)
	}
	return nil
}

// lock waits for the lock of a file, as long as ctx lasts.
func lock(ctx context.Context, file string) (unlock func(), err error) {
	type locked struct {
		unlock func()
		err    error
	}
	got, gone := make(chan locked), make(chan struct{})
	defer close(gone)
	go func() {
		unlock, err := lockedfile.MutexAt(file).Lock()
		select {
		case got <- locked{unlock, err}:
		case <-gone:
			if err == nil {
				unlock()
			}
		}
	}()
	select {
	case l := <-got:
		if l.err != nil {
			return nil, fmt.Errorf("keep a refresh token: %w", l.err)
		}
		return l.unlock, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

func readToken(sealer *secret.Sealer, file, name string) (string, error) {
	sealed, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("read the kept refresh token: %w", err)
	}
	plain, err := sealer.Open(nil, sealed, []byte(name))
	if err != nil {
		return "", fmt.Errorf("read the kept refresh token %s: %w; without the file, the one of the policy is tried again", file, err)
	}
	return string(plain), nil
}

// writeToken replaces the file so that a crash leaves the old one or the new one.
func writeToken(file string, sealed []byte) error {
	f, err := os.CreateTemp(filepath.Dir(file), "new-*") // with the mode 0600
	if err != nil {
		return err
	}
	_, err = f.Write(sealed)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), file)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	dir, err := os.Open(filepath.Dir(file))
	if err != nil {
		return err
	}
	_ = dir.Sync() // not every system can
	return dir.Close()
}
