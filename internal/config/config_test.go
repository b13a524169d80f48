package config_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/downbeat-dev/downbeat/internal/config"
)

func source(env map[string]string, goos string) config.Source {
	return config.Source{
		Env: func(k string) string { return env[k] }, GOOS: goos,
		Home: func() (string, error) { return "/home/ada", nil },
	}
}

func write(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestDataDirectoryFollowsTheSystem(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		goos, want string
		env        map[string]string
	}{
		{"linux", "/home/ada/.local/share/downbeat", nil},
		{"linux", "/x/downbeat", map[string]string{"XDG_DATA_HOME": "/x"}},
		{"linux", "/home/ada/.local/share/downbeat", map[string]string{"XDG_DATA_HOME": "relative"}},
		{"linux", "/flagless", map[string]string{"XDG_DATA_HOME": "/x", "DOWNBEAT_DATA": "/flagless"}},
		{"darwin", "/home/ada/Library/Application Support/downbeat", nil},
		{"windows", "/local/downbeat", map[string]string{"LOCALAPPDATA": "/local"}},
	} {
		got, err := config.Load(source(c.env, c.goos))
		if err != nil || got.Data != c.want {
			t.Errorf("%s %v: got %q, %v; want %q", c.goos, c.env, got.Data, err, c.want)
		}
	}
}

func TestEnvironmentStandsOverTheFile(t *testing.T) {
	t.Parallel()
	file := write(t, "data: state\noutput: yaml\ngrace: 3s\nkeep: 7\n")
	src := source(map[string]string{"DOWNBEAT_OUTPUT": "json", "DOWNBEAT_CONFIG": file}, "linux")
	got, err := config.Load(src)
	if err != nil {
		t.Fatal(err)
	}
	want := config.Config{Data: filepath.Join(filepath.Dir(file), "state"), Output: "json", Color: "auto", JavaScript: "auto", Grace: 3 * time.Second, Keep: 7, KeepFor: 720 * time.Hour}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

// The guide has every setting, with its variable.
func TestGuideHasEverySetting(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/guide/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range config.Keys() {
		for _, want := range []string{"`" + key + "`", "`DOWNBEAT_" + strings.ToUpper(key) + "`"} {
			if !strings.Contains(string(page), want) {
				t.Errorf("docs/guide/configuration.md does not have %s", want)
			}
		}
	}
}

func TestNetworkAndScripts(t *testing.T) {
	t.Parallel()
	file := write(t, "ca: tls/ca.pem\nclient_cert: /etc/me.pem\nclient_key: me.key\njavascript: embedded\ndeny: [169.254.0.0/16, '*.internal']\n")
	src := source(map[string]string{"DOWNBEAT_CONFIG": file, "DOWNBEAT_ALLOW": "example.com, 10.0.0.0/8,"}, "linux")
	got, err := config.Load(src)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Dir(file)
	want := config.Config{
		Data: "/home/ada/.local/share/downbeat", Output: "text", Color: "auto", JavaScript: "embedded", Grace: 10 * time.Second, Keep: 100_000, KeepFor: 720 * time.Hour,
		CA: filepath.Join(dir, "tls/ca.pem"), ClientCert: "/etc/me.pem", ClientKey: filepath.Join(dir, "me.key"),
		Deny: []string{"169.254.0.0/16", "*.internal"}, Allow: []string{"example.com", "10.0.0.0/8"},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestMistakesAreNamedWithTheirPlace(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"output: text\ndatta: x\n": `config.yaml:2:1: unknown setting "datta"; there are [data output`,
		"output: xml\n":            `config.yaml:1:1: output: "xml" is none of [text json yaml]`,
		"grace: soon\n":            `grace: "soon" is no duration such as 10s or 720h`,
		"- a\n":                    `want a map of settings`,
		"a: [\n":                   `config.yaml: yaml:`,
		"data: {a: b}\n":           `data: want one value`,
		"keep: [1]\n":              `keep: want one value`,
		"allow: [{a: b}]\n":        `allow: want one value`,
		"javascript: deno\n":       `javascript: "deno" is none of [auto node embedded]`,
	} {
		src := source(nil, "linux")
		src.File = write(t, text)
		_, err := config.Load(src)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v; want %s", text, err, want)
		}
	}
	src := source(map[string]string{"DOWNBEAT_KEEP": "-1"}, "linux")
	if _, err := config.Load(src); err == nil || err.Error() != `environment variable DOWNBEAT_KEEP: "-1" is no number of runs` {
		t.Error(err)
	}
	src = source(nil, "linux")
	src.File = "/no/such/file.yaml"
	if _, err := config.Load(src); err == nil {
		t.Error("a file that was asked for must exist")
	}
}
