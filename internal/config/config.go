// Package config finds out how Downbeat is set up: flags stand over the
// environment (DOWNBEAT_*), the environment over the configuration file, and
// the file over what is built in. The command line is its only caller; it lays
// its flags over what [Load] returns.
package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// Config is everything that can be set for the process as a whole.
type Config struct {
	Data      string        // data directory
	Output    string        // "text", "json" or "yaml"
	Workflows string        // directory of definitions that `run: workflow` may name
	Secrets   string        // file of secrets
	Color     string        // "auto", "always" or "never"
	Grace     time.Duration // that a cancelled task has before it is killed
	Keep      int           // finished runs kept of each workflow
	KeepFor   time.Duration // how long finished runs are kept
	// JavaScript says what runs scripts: "auto", "node" or "embedded".
	JavaScript string
	// CA is a file of certificates to trust beside the system's; ClientCert and
	// ClientKey are what is shown to servers that ask for a certificate.
	CA, ClientCert, ClientKey string
	// Deny and Allow are the egress rules: hosts, addresses, networks.
	Deny, Allow []string
}

// Source is what Load reads from; a test fills it with its own.
type Source struct {
	Env  func(string) string
	GOOS string
	Home func() (string, error)
	// File is the configuration file; "" means the usual place, where it may be absent.
	File string
}

// setting is one value that a file or the environment can hold.
type setting struct {
	key string // in the file; the environment has DOWNBEAT_<KEY>
	set func(c *Config, text string) error
}

// settings is the whole list; its order is that of error messages.
var settings = []setting{
	{"data", func(c *Config, v string) error { c.Data = v; return nil }},
	{"output", func(c *Config, v string) error { return oneOf(&c.Output, v, "text", "json", "yaml") }},
	{"workflows", func(c *Config, v string) error { c.Workflows = v; return nil }},
	{"secrets", func(c *Config, v string) error { c.Secrets = v; return nil }},
	{"color", func(c *Config, v string) error { return oneOf(&c.Color, v, "auto", "always", "never") }},
	{"grace", func(c *Config, v string) error { return duration(&c.Grace, v) }},
	{"keep", func(c *Config, v string) error { return number(&c.Keep, v) }},
	{"keep_for", func(c *Config, v string) error { return duration(&c.KeepFor, v) }},
	{"javascript", func(c *Config, v string) error { return oneOf(&c.JavaScript, v, "auto", "node", "embedded") }},
	{"ca", func(c *Config, v string) error { c.CA = v; return nil }},
	{"client_cert", func(c *Config, v string) error { c.ClientCert = v; return nil }},
	{"client_key", func(c *Config, v string) error { c.ClientKey = v; return nil }},
	{"deny", func(c *Config, v string) error { return list(&c.Deny, v) }},
	{"allow", func(c *Config, v string) error { return list(&c.Allow, v) }},
}

// Keys lists what a configuration file may hold.
func Keys() []string {
	out := make([]string, len(settings))
	for i, s := range settings {
		out[i] = s.key
	}
	return out
}

// Load reads the file, lays the environment over it, and fills in defaults.
func Load(src Source) (Config, error) {
	c := Config{Output: "text", Color: "auto", JavaScript: "auto", Grace: 10 * time.Second, Keep: 100_000, KeepFor: 30 * 24 * time.Hour}
	if src.File == "" {
		src.File = src.Env("DOWNBEAT_CONFIG")
	}
	file, given := src.File, src.File != ""
	if !given {
		if dir, err := src.configDir(); err == nil {
			file = filepath.Join(dir, "config.yaml")
		}
	}
	if file != "" {
		if err := c.readFile(file, given); err != nil {
			return c, err
		}
	}
	for _, s := range settings {
		name := "DOWNBEAT_" + upper(s.key)
		if v := src.Env(name); v != "" {
			if err := s.set(&c, v); err != nil {
				return c, fmt.Errorf("environment variable %s: %w", name, err)
			}
		}
	}
	if c.Data == "" {
		dir, err := src.dataDir()
		if err != nil {
			return c, fmt.Errorf("find the data directory: %w; set --data or DOWNBEAT_DATA", err)
		}
		c.Data = dir
	}
	return c, nil
}

func (c *Config) readFile(file string, given bool) error {
	b, err := os.ReadFile(file)
	switch {
	case errors.Is(err, fs.ErrNotExist) && !given:
		return nil
	case err != nil:
		return fmt.Errorf("read configuration: %w", err)
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(b, &doc); err != nil {
		return fmt.Errorf("configuration %s: %w", file, err)
	}
	if doc.Kind == 0 {
		return nil // an empty file
	}
	root := doc.Content[0]
	if root.Kind != yaml.MappingNode {
		return fmt.Errorf("configuration %s:%d: want a map of settings such as `data: /var/lib/downbeat`", file, root.Line)
	}
	for i := 0; i+1 < len(root.Content); i += 2 {
		k, v := root.Content[i], root.Content[i+1]
		if err := c.setKey(k.Value, v); err != nil {
			return fmt.Errorf("configuration %s:%d:%d: %w", file, k.Line, k.Column, err)
		}
	}
	// Paths of a file start at the file.
	for _, p := range []*string{&c.Data, &c.Workflows, &c.Secrets, &c.CA, &c.ClientCert, &c.ClientKey} {
		if *p != "" && !filepath.IsAbs(*p) {
			*p = filepath.Join(filepath.Dir(file), *p)
		}
	}
	return nil
}

func (c *Config) setKey(key string, v *yaml.Node) error {
	for _, s := range settings {
		if s.key != key {
			continue
		}
		text, ok := textOf(key, v)
		if !ok {
			return fmt.Errorf("%s: want one value", key)
		}
		if err := s.set(c, text); err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
		return nil
	}
	return fmt.Errorf("unknown setting %q; there are %v", key, Keys())
}

// textOf is what a setting has in the file, as it stands in the environment:
// the elements of a list with commas between them.
func textOf(key string, v *yaml.Node) (string, bool) {
	if v.Kind == yaml.ScalarNode {
		return v.Value, true
	}
	if v.Kind != yaml.SequenceNode || key != "deny" && key != "allow" {
		return "", false
	}
	parts := make([]string, len(v.Content))
	for i, x := range v.Content {
		if x.Kind != yaml.ScalarNode {
			return "", false
		}
		parts[i] = x.Value
	}
	return strings.Join(parts, ","), true
}

func upper(key string) string {
	b := []byte(key)
	for i, c := range b {
		if 'a' <= c && c <= 'z' {
			b[i] = c - 'a' + 'A'
		}
	}
	return string(b)
}

func oneOf(dst *string, v string, allowed ...string) error {
	if slices.Contains(allowed, v) {
		*dst = v
		return nil
	}
	return fmt.Errorf("%q is none of %v", v, allowed)
}

func duration(dst *time.Duration, v string) error {
	d, err := time.ParseDuration(v)
	if err != nil || d < 0 {
		return fmt.Errorf("%q is no duration such as 10s or 720h", v)
	}
	*dst = d
	return nil
}

func list(dst *[]string, v string) error {
	*dst = nil
	for part := range strings.SplitSeq(v, ",") {
		if part = strings.TrimSpace(part); part != "" {
			*dst = append(*dst, part)
		}
	}
	return nil
}

func number(dst *int, v string) error {
	n, err := strconv.Atoi(v)
	if err != nil || n < 0 {
		return fmt.Errorf("%q is no number of runs", v)
	}
	*dst = n
	return nil
}
