// Package link fetches what a definition names elsewhere and attaches it:
// functions of catalogues and by URI, schemas, scripts; from files, over HTTP,
// from git. The command line calls [Linker.Link] before a definition is checked
// and deployed. After that nothing of it depends on what stands elsewhere.
//
// What came over a network is kept in a cache below the data directory, by its
// digest, so that definitions can be linked again without the network.
package link

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/downbeat-dev/downbeat/internal/bundle"
	"github.com/downbeat-dev/downbeat/internal/lifecycle"
	"github.com/downbeat-dev/downbeat/internal/outbound"
	"github.com/downbeat-dev/downbeat/internal/workflow"
)

// Options is what a Linker works with.
type Options struct {
	// Outbound is how calls over HTTP leave.
	Outbound outbound.Config
	// Cache is a directory that is the linker's own; "" keeps nothing.
	Cache string
	// Offline asks no network: the cache alone answers.
	Offline bool
	// Lenient makes a document that cannot be reached a warning: for those who
	// check a definition and do not run it.
	Lenient bool
	// Secrets are those that authentications name; nil: there are none.
	Secrets outbound.Secrets
	// Environ is the environment of git, as os.Environ gives it.
	Environ []string
	// Git is the program; "" looks it up.
	Git       string
	UserAgent string
	// Patience is how long one document may take; 0: 30 s.
	Patience time.Duration
	Clock    lifecycle.Clock
}

const (
	defaultPatience = 30 * time.Second
	parallel        = 8 // documents that are fetched at a time
)

// Linker links definitions. It may be used by several goroutines.
type Linker struct {
	o      Options
	client *outbound.Client
	cache  cache
}

// New makes a Linker.
func New(o Options) (*Linker, error) {
	if o.Patience <= 0 {
		o.Patience = defaultPatience
	}
	o.Outbound.MaxResponse, o.Outbound.Clock = bundle.MaxBytes, o.Clock
	client, err := outbound.New(o.Outbound)
	if err != nil {
		return nil, fmt.Errorf("prepare linking: %w", err)
	}
	return &Linker{o: o, client: client, cache: cache{dir: o.Cache, clock: o.Clock}}, nil
}

// Close closes the connections that linking left open.
func (l *Linker) Close() { l.client.CloseIdleConnections() }

// document is what a fetch gave.
type document struct {
	content []byte
	uri     string // where it was, in a form that relative names can start from
	warning string
}

// failure is a fetch that gave nothing.
type failure struct {
	rule    string // of the finding: "missing", "unreachable", "offline", …
	message string
	allowed string
}

func (f *failure) Error() string { return f.message }

// unreachable are the rules of failures that tell nothing about the document.
func (f *failure) unreachable() bool { return f.rule == "unreachable" || f.rule == "offline" }

// Link attaches to def what it names, directly and through what was attached.
// directory is where relative paths start: the definition's own. The findings
// say what could not be attached, and why; without one of them that is an error
// the definition is whole.
func (l *Linker) Link(ctx context.Context, def *workflow.Definition, directory string) []workflow.Finding {
	session := l.session(def, directory)
	defer session.git.remove()
	linking := bundle.Begin(def)
	var findings []workflow.Finding
	for {
		var wants []bundle.Want
		names := map[string]bool{}
		for w, ok := linking.Next(); ok; w, ok = linking.Next() {
			wants = append(wants, w)
			if names[w.Kind+" "+w.Name] = true; len(names) > bundle.MaxAttachments {
				return append(findings, w.Finding("bound", fmt.Sprintf("the definition names more than %d documents", bundle.MaxAttachments), "split the workflow"))
			}
		}
		if len(wants) == 0 {
			break
		}
		for i, d := range session.fetchAll(ctx, wants) {
			findings = append(findings, l.attach(linking, wants[i], d)...)
		}
	}
	findings = append(findings, linking.Findings()...)
	l.cache.tidy()
	findings = append(findings, place(linking, def, directory)...)
	if err := linking.Seal(); err != nil {
		findings = append(findings, workflow.Finding{Pos: def.Document.Pos, Rule: "link/form", Message: err.Error()})
	}
	return findings
}

// result is the answer to one want.
type result struct {
	document
	err error
}

func (l *Linker) attach(linking *bundle.Linking, w bundle.Want, r result) []workflow.Finding {
	if r.err != nil {
		f := &failure{rule: "unreachable", message: r.err.Error()}
		_ = errors.As(r.err, &f)
		found := w.Finding(f.rule, subject(w)+" cannot be attached: "+f.message, f.allowed)
		if l.o.Lenient && f.unreachable() {
			found.Severity = workflow.SeverityWarning
		}
		return []workflow.Finding{found}
	}
	if !utf8.Valid(r.content) {
		return []workflow.Finding{w.Finding("encoding", fmt.Sprintf("%s (%s) is no text in UTF-8", subject(w), shown(r.uri)), "")}
	}
	findings := linking.Attach(w, workflow.Attachment{Kind: w.Kind, Name: w.Name, URI: r.uri, Digest: bundle.Digest(r.content), Content: r.content})
	if r.warning != "" {
		f := w.Finding("cached", r.warning, "")
		f.Severity = workflow.SeverityWarning
		findings = append(findings, f)
	}
	return findings
}

// subject names what is wanted, for people.
func subject(w bundle.Want) string {
	if w.Kind == bundle.Function {
		return "the function " + w.Name
	}
	return "the " + w.Kind + " " + shown(w.URI)
}

// session is the linking of one definition.
type session struct {
	l         *Linker
	def       *workflow.Definition
	directory string
	git       repositories

	mu              sync.Mutex
	authentications map[*workflow.Auth]*authentication
}

func (l *Linker) session(def *workflow.Definition, directory string) *session {
	return &session{
		l: l, def: def, directory: directory, authentications: map[*workflow.Auth]*authentication{},
		git: repositories{l: l, by: map[string]*repository{}},
	}
}

// fetchAll fetches side by side, each name once; the answers stand as the wants do.
func (s *session) fetchAll(ctx context.Context, wants []bundle.Want) []result {
	results := make([]result, len(wants))
	places := make(chan struct{}, parallel)
	var all sync.WaitGroup
	first := map[string]int{}
	for i, w := range wants {
		if _, known := first[w.Kind+" "+w.Name]; known {
			continue
		}
		first[w.Kind+" "+w.Name] = i
		places <- struct{}{}
		all.Go(func() {
			defer func() { <-places }()
			results[i].document, results[i].err = s.fetch(ctx, w)
		})
	}
	all.Wait()
	for i, w := range wants {
		results[i] = results[first[w.Kind+" "+w.Name]]
	}
	return results
}

func (s *session) fetch(ctx context.Context, w bundle.Want) (document, error) {
	if strings.HasPrefix(w.URI, "file:") {
		return s.readFile(w)
	}
	policy, err := s.authentication(ctx, w.Auth)
	if err != nil {
		return document{}, err
	}
	key := policy.key + w.URI
	if s.l.o.Offline {
		return s.l.cached(key, nil)
	}
	within, cancel := context.WithTimeoutCause(ctx, s.l.o.Patience, &failure{rule: "unreachable", message: fmt.Sprintf("%s did not answer within %s", shown(w.URI), s.l.o.Patience)})
	defer cancel()
	var d document
	if bundle.Git(w.URI) {
		d, err = s.git.read(within, w.Kind, w.URI, policy)
	} else {
		d, err = s.l.get(within, w.Kind, w.URI, policy)
	}
	if err == nil {
		s.l.cache.put(key, d.uri, d.content)
		return d, nil
	}
	f := &failure{}
	switch {
	case ctx.Err() != nil:
		return d, context.Cause(ctx)
	case errors.As(err, &f) && f.rule == "unreachable":
		return s.l.cached(key, f)
	case errors.As(err, &f) && f.rule == "missing" && w.Catalog != "":
		if bundle.Git(w.URI) {
			catalogue := strings.TrimSuffix(strings.TrimSuffix(w.URI, "functions/"+w.Function+"/"+w.Version+"/function.yaml"), "/")
			if list, err := s.git.list(within, catalogue, policy); err == nil {
				f.allowed = others(list, w)
			}
		}
	}
	return d, err
}

// cached answers from the cache; because is why nobody else did, nil when
// nobody was asked.
func (l *Linker) cached(key string, because *failure) (document, error) {
	e, ok := l.cache.get(key)
	switch {
	case ok && because == nil:
		return document{content: e.content, uri: e.URI}, nil
	case ok:
		return document{content: e.content, uri: e.URI, warning: fmt.Sprintf(
			"%s; the copy from %s is used (%s, %s)", because.message, e.At.UTC().Format("2006-01-02 15:04 MST"), age(l.o.Clock.Now().Sub(e.At)), e.Digest)}, nil
	case because != nil:
		return document{}, because
	}
	return document{}, &failure{"offline", "it is not in the cache, and --offline asks no network", "link the definition once with the network: `downbeat validate` does"}
}

func age(d time.Duration) string {
	switch {
	case d < time.Minute:
		return "less than a minute old"
	case d < 2*time.Hour:
		return fmt.Sprintf("%d minutes old", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d hours old", int(d.Hours()))
	}
	return fmt.Sprintf("%d days old", int(d.Hours()/24))
}

// File is the file that a file: URI of a linked definition names, where its
// relative paths start at directory; another URI is as it is.
func File(directory, uri string) string {
	if !strings.HasPrefix(uri, "file:") {
		return uri
	}
	return filePath(directory, uri)
}

func filePath(directory, uri string) string {
	p, absolute := strings.CutPrefix(uri, "file://")
	if absolute {
		return filepath.FromSlash(p)
	}
	return filepath.Join(directory, filepath.FromSlash(strings.TrimPrefix(uri, "file:")))
}
