package secret

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"

	"github.com/downbeat-dev/downbeat/internal/value"
)

// Mask is what stands in the place of a secret.
const Mask = "***"

// minMasked is the shortest secret that is masked: shorter ones would hide
// half of any text.
const minMasked = 4

// Masker replaces the values of secrets, in clear and in the encodings that
// they travel in (base64 at any offset, URL, JSON), by Mask. It never changes
// after it was made. A nil Masker masks nothing.
type Masker struct {
	needles []string
	starts  [256][]string // needles by their first byte, longest first
	longest int
}

// NewMasker makes a Masker of secrets: strings and numbers, also inside of
// objects and arrays.
func NewMasker(secrets ...any) *Masker {
	set := map[string]bool{}
	for _, s := range secrets {
		collect(set, s)
	}
	m := &Masker{}
	for needle := range set {
		m.needles = append(m.needles, needle)
	}
	slices.SortFunc(m.needles, func(a, b string) int {
		if len(a) != len(b) {
			return len(b) - len(a)
		}
		return strings.Compare(a, b)
	})
	for _, n := range m.needles {
		m.starts[n[0]] = append(m.starts[n[0]], n)
		m.longest = max(m.longest, len(n))
	}
	return m
}

// With returns a Masker that masks these secrets too.
func (m *Masker) With(secrets ...any) *Masker {
	more := NewMasker(secrets...)
	if m == nil || len(m.needles) == 0 {
		return more
	}
	if len(more.needles) == 0 {
		return m
	}
	all := &Masker{needles: slices.Concat(m.needles, more.needles)}
	slices.SortFunc(all.needles, func(a, b string) int {
		if len(a) != len(b) {
			return len(b) - len(a)
		}
		return strings.Compare(a, b)
	})
	all.needles = slices.Compact(all.needles)
	for _, n := range all.needles {
		all.starts[n[0]] = append(all.starts[n[0]], n)
		all.longest = max(all.longest, len(n))
	}
	return all
}

func collect(set map[string]bool, v any) {
	switch v := v.(type) {
	case nil, bool:
	case string:
		encodings(set, v)
	case []any:
		for _, x := range v {
			collect(set, x)
		}
	case map[string]any:
		for _, x := range v {
			collect(set, x)
		}
	default:
		encodings(set, string(value.JSON(v)))
	}
}

// encodings adds all forms of one secret.
func encodings(set map[string]bool, s string) {
	add := func(form string) {
		if len(form) >= minMasked {
			set[form] = true
		}
	}
	if len(s) < minMasked {
		return
	}
	add(s)
	add(strings.TrimSpace(s))
	add(url.QueryEscape(s))
	add(url.PathEscape(s))
	if b, err := json.Marshal(s); err == nil {
		add(string(b[1 : len(b)-1]))
	}
	add(string(value.JSON(s)[1 : len(value.JSON(s))-1]))
	for _, e := range []*base64.Encoding{base64.StdEncoding, base64.URLEncoding} {
		add(e.EncodeToString([]byte(s)))
		// Inside a longer text (user:password) the secret begins at any of three
		// offsets; the characters that it shares with its neighbours are left out.
		for before := range 3 {
			text := e.EncodeToString(append(make([]byte, before), s...))
			whole := (before + len(s)) * 8 / 6
			if inner := text[(before*8+5)/6 : whole]; len(inner) >= 6 {
				set[inner] = true
			}
		}
	}
	// A key in PEM is printed by lines.
	if lines := strings.Split(s, "\n"); len(lines) > 1 {
		for _, line := range lines {
			if line = strings.TrimSpace(line); len(line) >= 12 {
				set[line] = true
			}
		}
	}
}

// String replaces the secrets in a text.
func (m *Masker) String(s string) string {
	if m == nil || len(m.needles) == 0 {
		return s
	}
	out, _ := m.mask(nil, []byte(s), true)
	if out == nil {
		return s
	}
	return string(out)
}

// Value replaces the secrets in all strings and keys of a value. What holds
// none is returned as it is.
func (m *Masker) Value(v any) any {
	if m == nil || len(m.needles) == 0 {
		return v
	}
	switch v := v.(type) {
	case string:
		return m.String(v)
	case []any:
		w := make([]any, len(v))
		for i, x := range v {
			w[i] = m.Value(x)
		}
		return w
	case map[string]any:
		w := make(map[string]any, len(v))
		for k, x := range v {
			w[m.String(k)] = m.Value(x)
		}
		return w
	case nil, bool:
		return v
	}
	// A number stays one unless it is a secret.
	if s := string(value.JSON(v)); m.String(s) != s {
		return Mask
	}
	return v
}

// mask appends the masked text to dst; rest is where an end begins that more
// text could make a secret of (len(b) when there is none, or when final).
// Secrets that overlap become one Mask.
func (m *Masker) mask(dst, b []byte, final bool) (out []byte, rest int) {
	from, end := -1, 0 // the secret that is being masked
	plain := 0         // what has not been appended yet begins here
	for i := range b {
		if from >= 0 && i >= end {
			dst = append(append(dst, b[plain:from]...), Mask...)
			plain, from = end, -1
		}
		for _, n := range m.starts[b[i]] {
			left := b[i:]
			if len(left) < len(n) {
				if !final && strings.HasPrefix(n, string(left)) {
					// Everything from here, or from the secret that reaches here, must wait.
					if from >= 0 {
						i = from
					}
					return append(dst, b[plain:i]...), i
				}
				continue
			}
			if string(left[:len(n)]) == n {
				if from < 0 {
					from = i
				}
				end = max(end, i+len(n))
				break
			}
		}
	}
	if from >= 0 {
		dst = append(append(dst, b[plain:from]...), Mask...)
		plain = end
	}
	return append(dst, b[plain:]...), len(b)
}

// Writer masks what is written through it to another writer. A secret that is
// split over writes is masked too, so the end of a text may be held back until
// Flush.
type Writer struct {
	masker *Masker
	to     io.Writer
	held   []byte
}

// Writer returns a Writer to w.
func (m *Masker) Writer(w io.Writer) *Writer { return &Writer{masker: m, to: w} }

// Write writes what can be no secret any more.
func (w *Writer) Write(b []byte) (int, error) {
	if w.masker == nil || len(w.masker.needles) == 0 {
		n, err := w.to.Write(b)
		if err != nil {
			return n, fmt.Errorf("write masked: %w", err)
		}
		return n, nil
	}
	w.held = append(w.held, b...)
	out, rest := w.masker.mask(nil, w.held, false)
	w.held = append(w.held[:0], w.held[rest:]...)
	if len(out) > 0 {
		if _, err := w.to.Write(out); err != nil {
			return 0, fmt.Errorf("write masked: %w", err)
		}
	}
	return len(b), nil
}

// Flush writes what was held back; to be called at the end of the stream.
func (w *Writer) Flush() error {
	if len(w.held) == 0 {
		return nil
	}
	out, _ := w.masker.mask(nil, w.held, true)
	w.held = w.held[:0]
	if _, err := w.to.Write(out); err != nil {
		return fmt.Errorf("write masked: %w", err)
	}
	return nil
}
