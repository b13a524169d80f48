package link

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"path"
	"regexp"
	"strings"

	"github.com/downbeat-dev/downbeat/internal/bundle"
	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/outbound"
)

// get reads a document over HTTP. Of GitHub and GitLab the raw content is read
// where the page of a file or directory is named (DSL 199).
func (l *Linker) get(ctx context.Context, kind, uri string, policy *authentication) (document, error) {
	var first error
	for _, candidate := range rawURIs(kind, uri) {
		r, err := l.client.Resource(ctx, &outbound.ResourceCall{
			URI: candidate, Authentication: policy.value, Secrets: policy.secrets, UserAgent: l.o.UserAgent,
		})
		if err == nil {
			return document{content: r.Bytes, uri: shown(candidate)}, nil
		}
		err = refused(ctx, err)
		if first == nil {
			first = err
		}
		if f := (*failure)(nil); !errors.As(err, &f) || f.rule != "missing" {
			return document{}, err
		}
	}
	return document{}, first
}

// refused says what an error of a call means for a document.
func refused(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	p, ok := errors.AsType[*event.Problem](err)
	if !ok {
		return &failure{"unreachable", err.Error(), ""}
	}
	f := &failure{"refused", p.Detail, ""}
	switch {
	case strings.HasPrefix(p.Title, "Secret "): // of ours, not the server's
		f.rule = "authentication"
	case p.Type == event.TypePrefix+event.Forbidden: // by the egress rules
	case p.Status == http.StatusNotFound || p.Status == http.StatusGone:
		f.rule = "missing"
	case p.Status == http.StatusUnauthorized || p.Status == http.StatusForbidden:
		f.allowed = "give the endpoint an authentication that may read it"
	case p.Title == "Communication failed", p.Status == http.StatusTooManyRequests, p.Status > http.StatusInternalServerError:
		f.rule = "unreachable"
	}
	return f
}

// shown is a URI without what may be a secret in it.
func shown(uri string) string {
	u, err := url.Parse(uri)
	if err != nil {
		return userInfo.ReplaceAllString(uri, "$1")
	}
	if u.Scheme == "file" {
		return uri
	}
	u.User, u.RawQuery = nil, ""
	return u.String()
}

var (
	userInfo     = regexp.MustCompile(`^([^/]*//).*@|\?.*`)
	commit       = regexp.MustCompile(`^[0-9a-f]{40}$`)
	documentName = regexp.MustCompile(`\.(ya?ml|json)$`)
)

// rawURIs are the addresses to try for a document, in turn. Of most there is one.
func rawURIs(kind, uri string) []string {
	u, err := url.Parse(uri)
	if err != nil {
		return []string{uri}
	}
	parts := strings.Split(strings.Trim(u.Path, "/"), "/")
	switch {
	case (u.Host == "github.com" || u.Host == "www.github.com") && len(parts) >= 2:
		return github(kind, parts)
	case strings.Contains(u.Path, "/-/tree/"), strings.Contains(u.Path, "/-/blob/"), u.Host == "gitlab.com" && len(parts) >= 2:
		return gitlab(kind, u, parts)
	}
	return []string{uri}
}

// github takes owner/repository[/tree/ref|/blob/ref]/path apart. A ref may also
// stand behind an @, after the repository or at the very end: then it is a tag.
func github(kind string, parts []string) []string {
	owner, repository, rest := parts[0], parts[1], parts[2:]
	ref := ""
	if name, tag, ok := strings.Cut(repository, "@"); ok {
		repository, ref = name, tag
	}
	repository = strings.TrimSuffix(repository, ".git")
	branch := len(rest) >= 2 && (rest[0] == "tree" || rest[0] == "blob")
	if branch {
		ref, rest = rest[1], rest[2:]
	}
	file := strings.Join(rest, "/")
	if name, tag, ok := cutTag(file); ok && ref == "" {
		file, ref = name, tag
	}
	raw := func(ref string) string {
		return "https://raw.githubusercontent.com/" + path.Join(owner, repository, ref, functionFile(kind, file))
	}
	switch {
	case ref == "":
		return []string{raw("HEAD")}
	case commit.MatchString(ref):
		return []string{raw(ref)}
	case branch: // a page of a tag looks the same
		return []string{raw("refs/heads/" + ref), raw("refs/tags/" + ref), raw(ref)}
	}
	return []string{raw("refs/tags/" + ref), raw(ref)}
}

// gitlab takes group/…/project[/-/tree/ref]/path apart. Without /-/ a project is
// told from the path behind it by the layout of catalogues, or has two parts.
func gitlab(kind string, u *url.URL, parts []string) []string {
	var project, file string
	ref := "HEAD"
	if before, after, ok := strings.Cut(u.Path, "/-/"); ok {
		kind, rest, _ := strings.Cut(after, "/")
		if kind != "tree" && kind != "blob" {
			return []string{u.String()}
		}
		project = before
		ref, file, _ = strings.Cut(rest, "/")
	} else {
		n := 2
		for i, p := range parts {
			if strings.Contains(p, "@") || p == "functions" && i >= 2 {
				n = i
				if strings.Contains(p, "@") {
					n++
				}
				break
			}
		}
		n = min(n, len(parts))
		project, file = "/"+strings.Join(parts[:n], "/"), strings.Join(parts[n:], "/")
		if name, tag, ok := cutTag(project); ok {
			project, ref = name, tag
		} else if name, tag, ok := cutTag(file); ok {
			file, ref = name, tag
		}
	}
	v := *u
	v.Path, v.RawPath = path.Join("/", strings.TrimSuffix(project, ".git"), "-/raw", ref, functionFile(kind, file)), ""
	return []string{v.String()}
}

func cutTag(s string) (name, tag string, ok bool) {
	i := strings.LastIndexByte(s, '@')
	if i < 0 || strings.Contains(s[i:], "/") {
		return s, "", false
	}
	return s[:i], s[i+1:], true
}

// functionFile is the document of a function whose directory is named (DSL 198).
func functionFile(kind, file string) string {
	if kind != bundle.Function || documentName.MatchString(file) {
		return file
	}
	return path.Join(file, "function.yaml")
}
