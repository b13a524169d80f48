package progress

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
)

// Notes are warnings that come from any goroutine. While a live tree is on the
// screen they wait for its next frame; else they are printed at once.
type Notes struct {
	W io.Writer
	P Palette

	mu   sync.Mutex
	held bool
	list []string
}

// Warn prints a warning, or keeps it for Take.
func (n *Notes) Warn(text string) {
	line := n.P.Warn("warning:") + " " + OneLine(text)
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.held {
		n.list = append(n.list, line)
		return
	}
	_, _ = fmt.Fprintln(n.W, line)
}

// Hold makes warnings wait for Take, or lets them be printed at once again.
func (n *Notes) Hold(on bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.held = on
}

// Take returns the warnings that wait.
func (n *Notes) Take() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	out := n.list
	n.list = nil
	return out
}

// Logger makes warnings of what is logged as a warning or an error.
func (n *Notes) Logger() *slog.Logger { return slog.New(&noteHandler{n: n}) }

// noteHandler is a slog handler that makes notes.
type noteHandler struct {
	n    *Notes
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
	h.n.Warn(b.String())
	return nil
}

// WithAttrs returns a handler that adds attrs to every note.
func (h *noteHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &noteHandler{h.n, append(append([]slog.Attr{}, h.with...), attrs...)}
}

// WithGroup is not used by Downbeat; names stay as they are.
func (h *noteHandler) WithGroup(string) slog.Handler { return h }
