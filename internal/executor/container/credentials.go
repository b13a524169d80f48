package container

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/distribution/reference"
	"github.com/moby/moby/api/types/registry"
)

// credentials are those of the secret that the task names, else those that the
// user has stored with docker login; nil when there are none.
func (t *task) credentials(ctx context.Context) (*registry.AuthConfig, error) {
	if t.plan.registry != "" {
		v, err := t.r.Secrets.Secret(ctx, t.plan.registry)
		if err != nil {
			return nil, err
		}
		return fromSecret(t.plan.registry, v)
	}
	dir := t.e.environment["DOCKER_CONFIG"]
	if dir == "" {
		if t.e.environment["HOME"] == "" {
			return nil, nil // no credentials are no mistake
		}
		dir = filepath.Join(t.e.environment["HOME"], ".docker")
	}
	b, err := os.ReadFile(filepath.Join(dir, "config.json"))
	if err != nil {
		return nil, nil //nolint:nilerr // most images need no credentials
	}
	return t.fromFile(ctx, b), nil
}

func fromSecret(name string, v any) (*registry.AuthConfig, error) {
	switch v := v.(type) {
	case string:
		if user, password, ok := strings.Cut(v, ":"); ok {
			return &registry.AuthConfig{Username: user, Password: password}, nil
		}
		return &registry.AuthConfig{RegistryToken: v}, nil
	case map[string]any:
		user, _ := v["username"].(string)
		password, _ := v["password"].(string)
		token, _ := v["token"].(string)
		if user != "" && password != "" || token != "" {
			return &registry.AuthConfig{Username: user, Password: password, RegistryToken: token}, nil
		}
	}
	return nil, invalid("the secret %q, for the image's registry, must be an object with username and password or with token, or the text user:password", name)
}

// loginFile is what docker login leaves.
type loginFile struct {
	Auths map[string]struct {
		Auth          string `json:"auth"`
		IdentityToken string `json:"identitytoken"`
	} `json:"auths"`
	Store   string            `json:"credsStore"`
	Helpers map[string]string `json:"credHelpers"` // by registry
}

// fromFile finds the registry of the image in the file of docker login, or asks
// the helper that the file names for it.
func (t *task) fromFile(ctx context.Context, b []byte) *registry.AuthConfig {
	var file loginFile
	named, err := reference.ParseNormalizedNamed(t.plan.image)
	if err != nil || json.Unmarshal(b, &file) != nil {
		return nil
	}
	domain := reference.Domain(named)
	server := domain
	if domain == "docker.io" {
		server = "https://index.docker.io/v1/"
	}
	if helper := cmp.Or(file.Helpers[server], file.Helpers[domain], file.Store); helper != "" {
		if auth := t.fromHelper(ctx, helper, server); auth != nil {
			return auth
		}
	}
	for key, a := range file.Auths {
		host := strings.TrimPrefix(strings.TrimPrefix(key, "https://"), "http://")
		host, _, _ = strings.Cut(host, "/")
		if host == "index.docker.io" {
			host = "docker.io"
		}
		if host != domain {
			continue
		}
		auth := &registry.AuthConfig{ServerAddress: key, IdentityToken: a.IdentityToken}
		plain, err := base64.StdEncoding.DecodeString(a.Auth)
		if user, password, ok := strings.Cut(string(plain), ":"); err == nil && ok {
			auth.Username, auth.Password = user, strings.TrimRight(password, "\x00")
		}
		if auth.Username != "" || auth.IdentityToken != "" {
			return auth
		}
	}
	return nil
}

// helperTimeout bounds a helper, which may ask a keychain.
const helperTimeout = 20 * time.Second

// fromHelper asks the program docker-credential-NAME; nil when it knows nothing.
func (t *task) fromHelper(ctx context.Context, name, server string) *registry.AuthConfig {
	if strings.ContainsAny(name, `/\`) {
		return nil
	}
	limited, cancel := context.WithTimeout(ctx, helperTimeout)
	defer cancel()
	helper := exec.CommandContext(limited, "docker-credential-"+name, "get") //nolint:gosec // the user's own file names it
	helper.Env = []string{}
	for variable, v := range t.e.environment {
		if !strings.HasPrefix(variable, "DOWNBEAT_") { // secrets are none of its business
			helper.Env = append(helper.Env, variable+"="+v)
		}
	}
	helper.Stdin = strings.NewReader(server)
	helper.WaitDelay = time.Second
	b, err := helper.Output()
	var found struct{ Username, Secret string }
	if err != nil || json.Unmarshal(b, &found) != nil || found.Secret == "" {
		if !strings.Contains(string(b), "credentials not found") {
			t.note("docker-credential-%s gave no credentials for %s: %v", name, server, err)
		}
		return nil
	}
	if found.Username == "<token>" {
		return &registry.AuthConfig{ServerAddress: server, IdentityToken: found.Secret}
	}
	return &registry.AuthConfig{ServerAddress: server, Username: found.Username, Password: found.Secret}
}
