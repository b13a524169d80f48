package bundle

import (
	"fmt"
	"net/url"
	"path"
	"regexp"
	"strings"
)

var scheme = regexp.MustCompile(`^([A-Za-z][A-Za-z0-9+.-]+):`) // one letter is a drive of Windows

var functionName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]*$`)

// Git reports whether uri names a repository, or a file in one: git+https, git+ssh,
// git+http, git+file, or an http(s) address that ends in .git, perhaps with @ref.
func Git(uri string) bool {
	address, _, _ := strings.Cut(uri, "#")
	if strings.HasPrefix(address, "git+") {
		return true
	}
	if !strings.HasPrefix(address, "http://") && !strings.HasPrefix(address, "https://") {
		return false
	}
	repository, _ := Repository(uri)
	return strings.HasSuffix(repository, ".git")
}

// Repository takes the address of a repository and its ref out of a URI:
// `git+https://host/team/repo.git@v1#path` gives the address without the path, and v1.
func Repository(uri string) (address, ref string) {
	address, _, _ = strings.Cut(uri, "#")
	if slash, at := strings.LastIndexByte(address, '/'), strings.LastIndexByte(address, '@'); at > slash {
		return address[:at], address[at+1:]
	}
	// A ref may hold slashes: only what follows .git@ is surely one.
	if base, ref, ok := strings.Cut(address, ".git@"); ok {
		return base + ".git", ref
	}
	return address, ""
}

// Relative reports whether a URI, as written, depends on where it stands.
func Relative(uri string) bool {
	p, local, err := filePath(uri)
	return err == nil && local && !path.IsAbs(p)
}

// filePath is the path that a file: URI or a URI without a scheme names.
func filePath(uri string) (p string, local bool, err error) {
	p = uri
	if m := scheme.FindStringSubmatch(uri); m != nil {
		if !strings.EqualFold(m[1], "file") {
			return "", false, nil
		}
		p = uri[len(m[0]):]
	}
	if rest, ok := strings.CutPrefix(p, "//"); ok && p != uri {
		host, tail, _ := strings.Cut(rest, "/")
		switch host {
		case "", "localhost":
			p = "/" + tail
		case ".", "..":
			p = host + "/" + tail
		default:
			return "", true, fmt.Errorf("%s names the machine %q; a file: URI has three slashes (file:///path), or none for a relative path (file:path)", uri, host)
		}
	}
	return path.Clean(strings.ReplaceAll(p, `\`, "/")), true, nil
}

// Resolve is the URI that ref means in the document base; base "" is the
// definition itself, whose relative paths start at its own directory.
func Resolve(base, ref string) (string, error) {
	p, local, err := filePath(ref)
	if err != nil {
		return "", err
	}
	where, _, _ := filePath(base)
	remote := base != "" && !strings.HasPrefix(base, "file:")
	if !local {
		name := strings.ToLower(scheme.FindStringSubmatch(ref)[1])
		ref = name + ref[len(name):]
		switch name {
		case "http", "https", "git+https", "git+http", "git+ssh":
			return ref, nil
		case "git+file":
			if remote {
				return "", fmt.Errorf("%s is a repository of this machine, and a document from elsewhere (%s) cannot name one", ref, base)
			}
			return ref, nil
		}
		return "", fmt.Errorf("%s has the scheme %q; there are http, https, file, git+https, git+ssh and git+file", ref, name)
	}
	switch {
	case path.IsAbs(p) && remote:
		return "", fmt.Errorf("%s is a file of this machine, and a document from elsewhere (%s) cannot name one", ref, base)
	case path.IsAbs(p):
		return "file://" + p, nil
	case base == "":
		return "file:" + p, nil
	case !remote && path.IsAbs(where):
		return "file://" + path.Join(path.Dir(where), p), nil
	case !remote:
		return "file:" + path.Join(path.Dir(where), p), nil
	case Git(base):
		address, file, _ := strings.Cut(base, "#")
		return address + "#" + path.Join("/", path.Dir(file), p)[1:], nil // a repository has nothing above it
	}
	u, err := url.Parse(base)
	if err != nil {
		return "", fmt.Errorf("%s is relative to %s, which is no URI", ref, base)
	}
	return u.ResolveReference(&url.URL{Path: p}).String(), nil
}

// FunctionURI is where a catalogue has a function (DSL 198).
func FunctionURI(endpoint, name, version string) (string, error) {
	if !functionName.MatchString(name) {
		return "", fmt.Errorf("%q is no name of a function of a catalogue; it has letters, digits, '.', '_' and '-'", name)
	}
	file := "functions/" + name + "/" + version + "/function.yaml"
	p, local, err := filePath(endpoint)
	switch {
	case err != nil:
		return "", err
	case local:
		return Resolve("", "file:"+path.Join(p, file))
	case Git(endpoint):
		address, dir, _ := strings.Cut(endpoint, "#")
		return Resolve("", address+"#"+path.Join("/", dir, file)[1:])
	}
	u, err := url.Parse(endpoint)
	if err != nil || u.Host == "" {
		return "", fmt.Errorf("%s is no URI of a catalogue", endpoint)
	}
	u.Path, u.RawPath = strings.TrimSuffix(u.Path, "/")+"/"+file, ""
	return Resolve("", u.String())
}
