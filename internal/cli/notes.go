package cli

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"

	"github.com/downbeat-dev/downbeat/internal/progress"
)

// notes are messages from other goroutines. While a live tree is on the screen
// they wait for its next frame; else they are printed at once.
type notes struct {
	mu   sync.Mutex
	held bool
	list []string
}

// warn prints a warning, or hands it to what is on the screen.
func (a *app) warn(text string) {
	line := a.term.Style.Warn("warning:") + " " + progress.OneLine(text)
	a.notes.mu.Lock()
	defer a.notes.mu.Unlock()
	if a.notes.held {
		a.notes.list = append(a.notes.list, line)
		return
	}
	_, _ = fmt.Fprintln(a.err, line)
}

// hold makes warnings wait for take; without, they are printed at once.
func (n *notes) hold(on bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.held = on
}

func (n *notes) take() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	out := n.list
	n.list = nil
	return out
}

// logger shows what the engine room has to say, as far as it concerns a user.
func (a *app) logger() *slog.Logger { return slog.New(&noteHandler{a: a}) }

// noteHandler is a slog handler that makes notes of warnings and errors.
type noteHandler struct {
	a    *app
	with []slog.Attr
}

// Enabled is true from warnings on.
func (h *noteHandler) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelWarn }

// Handle makes one note.
func (h *noteHandler) Handle(_ context.Context, r slog.Record) error {
	var b strings.Builder
	b.WriteString(r.Message)
	add := func(x slog.Attr) bool {
		fmt.Fprintf(&b, "; %s: %s", x.Key, x.Value.String())
		return true
	}
	for _, x := range h.with {
		add(x)
	}
	r.Attrs(add)
	h.a.warn(b.String())
	return nil
}

// WithAttrs returns a handler that adds attrs to every note.
func (h *noteHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &noteHandler{h.a, append(append([]slog.Attr{}, h.with...), attrs...)}
}

// WithGroup is not used by Downbeat; names stay as they are.
func (h *noteHandler) WithGroup(string) slog.Handler { return h }
