package secret_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/secret"
)

type object = map[string]any

// D17
func TestResolver(t *testing.T) {
	t.Parallel()
	r := secret.NewResolver(
		secret.Map{"a": "first", "n": 5},
		secret.NewEnvironment([]string{"DOWNBEAT_SECRET_A=second", "DOWNBEAT_SECRET_MY_API_KEY=k=v", `DOWNBEAT_SECRET_OBJ={"username":"u"}`, `DOWNBEAT_SECRET_NUM=12`, "OTHER=x"}),
	)
	for name, want := range map[string]any{"a": "first", "n": 5, "my-api.key": "k=v", "obj": object{"username": "u"}, "num": "12"} {
		got, err := r.Secret(t.Context(), name)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
	_, err := r.Secret(t.Context(), "no-ne")
	p, ok := errors.AsType[*event.Problem](err)
	if !ok || p.Status != 403 || p.Type != "https://open-workflow-specification.org/spec/1.0.0/errors/authorization" || !strings.Contains(p.Detail, "DOWNBEAT_SECRET_NO_NE") {
		t.Errorf("got %v", err)
	}
	if _, err := r.Resolve(t.Context(), "none"); !errors.Is(err, secret.ErrNotFound) {
		t.Errorf("got %v", err)
	}
	names, err := r.Names(t.Context())
	if d := cmp.Diff([]string{"a", "my_api_key", "n", "num", "obj"}, names); d != "" || err != nil {
		t.Error(d, err)
	}
}

func TestFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "secrets.yaml")
	write := func(text string, mode os.FileMode) {
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	write("pin: 0123\nnumber: 42\nday: 2024-01-02\nyes: yes\nflag: true\nnothing:\nlist: [a, {b: 1.5}]\nhex: 0x1F\nbig: 123456789012345678901\n", 0o644)
	f, err := secret.OpenFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(f.Warning(), "chmod 600") {
		t.Errorf("warning %q", f.Warning())
	}
	r := secret.NewResolver(f)
	for name, want := range map[string]any{"pin": "0123", "number": 42, "day": "2024-01-02", "yes": "yes", "flag": true, "nothing": nil, "list": []any{"a", object{"b": 1.5}}, "hex": "0x1F"} {
		got, err := r.Secret(t.Context(), name)
		if d := cmp.Diff(want, got); d != "" || err != nil {
			t.Errorf("%s: %s %v", name, d, err)
		}
	}
	// Rotation is seen.
	write(`{"pin": "new"}`, 0o600)
	if err := os.Chtimes(path, time.Time{}, time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if got, err := r.Secret(t.Context(), "pin"); got != "new" || err != nil {
		t.Errorf("got %v, %v", got, err)
	}
	if f.Warning() != "" {
		t.Errorf("warning %q", f.Warning())
	}
	for text, want := range map[string]string{
		"[a]": "it holds array", "a: hunter2\na: hunter2": "line 2", ": : hunter2: [": "neither YAML nor JSON", "{[1]: hunter2}": "plain name",
		"a: &a [hunter2,hunter2,hunter2,hunter2,hunter2,hunter2,hunter2,hunter2,hunter2]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: [*e,*e,*e,*e]\n": "more than",
	} {
		write(text, 0o600)
		if _, err := secret.OpenFile(path); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: got %v; want an error with %q and without values", text, err, want)
		}
	}
	write("", 0o600)
	if _, err := secret.OpenFile(path); err != nil {
		t.Errorf("an empty file: %v", err)
	}
	if _, err := secret.OpenFile(path + "x"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

func TestMasker(t *testing.T) {
	t.Parallel()
	m := secret.NewMasker("hunter2!", object{"password": "p w+/é", "n": 123456, "short": "abc", "flag": true, "empty": nil}, []any{"abcd", "cdef"},
		"-----BEGIN KEY-----\nMIIBVgIBADANBgkq\n-----END KEY-----\n")
	for in, want := range map[string]string{
		"":                                "",
		"nothing here abc true":           "nothing here abc true",
		"hunter2!":                        "***",
		"a hunter2!hunter2! b":            "a ****** b",
		"hunter2":                         "hunter2",
		"abcdef":                          "***",
		"pin 123456.":                     "pin ***.",
		"q=p+w%2B%2F%C3%A9":               "q=***",
		"p%20w+%2F%C3%A9":                 "***",
		base64Of("hunter2!"):              "***",
		base64Of("aladdin:hunter2!")[:11]: base64Of("aladdin:")[:10] + base64Of("aladdin:hunter2!")[10:11],
		"| MIIBVgIBADANBgkq |":            "| *** |",
	} {
		if got := m.String(in); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
	for _, user := range []string{"", "a", "ab", "abc", "user:"} {
		enc := base64Of(user + "hunter2!")
		if got := m.String(enc); !strings.Contains(got, "***") {
			t.Errorf("%q in base64 shows: %q", user+"hunter2!", got)
		}
	}
	want := object{"a": []any{"***", 1, nil}, "n": "***", "k***": "x"}
	if d := cmp.Diff(want, m.Value(object{"a": []any{"hunter2!", 1, nil}, "n": 123456, "kabcd": "x"})); d != "" {
		t.Error(d)
	}
	var none *secret.Masker
	if got := none.String("hunter2!"); got != "hunter2!" {
		t.Errorf("got %q", got)
	}
	if got := none.With("hunter2!").With("").With("other").String("hunter2! other"); got != "*** ***" {
		t.Errorf("got %q", got)
	}
}

func base64Of(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

// However a text is cut into writes, the masked stream is the masked text, and
// no secret is in it.
func TestMaskedStreamIsMaskedText(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		secrets := rapid.SliceOfN(rapid.StringOfN(rapid.RuneFrom([]rune("ab")), 4, 7, -1), 1, 4).Draw(t, "secrets")
		var list []any
		for _, s := range secrets {
			list = append(list, s)
		}
		m := secret.NewMasker(list...)
		text := rapid.StringOfN(rapid.RuneFrom([]rune("aabbc ")), 0, 60, -1).Draw(t, "text")
		var out bytes.Buffer
		w := m.Writer(&out)
		for rest := text; rest != ""; {
			n := rapid.IntRange(1, len(rest)).Draw(t, "cut")
			if _, err := w.Write([]byte(rest[:n])); err != nil {
				t.Fatal(err)
			}
			rest = rest[n:]
		}
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(m.String(text), out.String()); d != "" {
			t.Fatalf("stream differs from text: %s", d)
		}
		for _, s := range secrets {
			if strings.Contains(out.String(), s) {
				t.Fatalf("%q shows in %q", s, out.String())
			}
		}
	})
}

func TestKey(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var all sync.WaitGroup
	sealed := make([][]byte, 8)
	for i := range sealed {
		all.Go(func() {
			k, err := secret.OpenKey(dir)
			if err != nil {
				t.Error(err)
			}
			sealed[i] = secret.NewSealer(k).Seal(nil, []byte("text"), []byte("run"))
		})
	}
	all.Wait()
	k, err := secret.OpenKey(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range sealed {
		if got, err := secret.NewSealer(k).Open(nil, b, []byte("run")); string(got) != "text" || err != nil {
			t.Errorf("a process that opened the key at the same time had another: %v", err)
		}
	}
	path := filepath.Join(dir, "key")
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if files, _ := os.ReadDir(dir); len(files) != 1 {
		t.Errorf("files are left: %v", files)
	}
	if text := fmt.Sprintf("%v %+v %#v %s", k, k, k, k); strings.Count(text, "hidden") != 4 {
		t.Errorf("the key prints: %s", text)
	}
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	if _, err := secret.OpenKey(dir); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("got %v", err)
	}
	if err := errors.Join(os.WriteFile(path, []byte("short"), 0o600), os.Chmod(path, 0o600)); err != nil {
		t.Fatal(err)
	}
	if _, err := secret.OpenKey(dir); err == nil || !strings.Contains(err.Error(), "holds no key") {
		t.Errorf("got %v", err)
	}
}

func TestSealer(t *testing.T) {
	t.Parallel()
	k, err := secret.OpenKey(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	other, err := secret.OpenKey(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	s, run, text := secret.NewSealer(k), []byte("run 1"), []byte("the secret hunter2")
	sealed := s.Seal([]byte("prefix"), text, run)
	if !bytes.HasPrefix(sealed, []byte("prefix")) || bytes.Contains(sealed, []byte("hunter2")) {
		t.Errorf("sealed %q", sealed)
	}
	sealed = sealed[len("prefix"):]
	if got, err := s.Open([]byte("> "), sealed, run); string(got) != "> the secret hunter2" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	if bytes.Equal(sealed, s.Seal(nil, text, run)) {
		t.Error("the same text is sealed to the same bytes")
	}
	for i := range sealed {
		b := bytes.Clone(sealed)
		b[i] ^= 1
		if _, err := s.Open(nil, b, run); !errors.Is(err, secret.ErrSealed) {
			t.Errorf("byte %d changed: %v", i, err)
		}
		if _, err := s.Open(nil, sealed[:i], run); !errors.Is(err, secret.ErrSealed) {
			t.Errorf("cut at %d: %v", i, err)
		}
	}
	if _, err := s.Open(nil, sealed, []byte("run 2")); !errors.Is(err, secret.ErrSealed) {
		t.Errorf("another run: %v", err)
	}
	if _, err := secret.NewSealer(other).Open(nil, sealed, run); !errors.Is(err, secret.ErrSealed) {
		t.Errorf("another key: %v", err)
	}
}

func BenchmarkSeal(b *testing.B) {
	k, err := secret.OpenKey(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	s, text, run := secret.NewSealer(k), make([]byte, 300), make([]byte, 16)
	var dst []byte
	for b.Loop() {
		dst = s.Seal(dst[:0], text, run)
	}
}
