package container

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/distribution/reference"
	"github.com/moby/moby/api/pkg/authconfig"
	"github.com/moby/moby/api/types/registry"
	"github.com/moby/moby/client"
)

// entry is what an image runs by itself.
type entry struct{ entrypoint, command []string }

// image makes sure that the engine has the image, DSL 135.
func (t *task) image(ctx context.Context) (entry, error) {
	if t.plan.pullPolicy == "always" {
		if err := t.pull(ctx); err != nil {
			return entry{}, err
		}
	}
	found, err := t.inspectImage(ctx)
	if errdefs.IsNotFound(err) && t.plan.pullPolicy == "ifNotPresent" {
		if err := t.pull(ctx); err != nil {
			return entry{}, err
		}
		found, err = t.inspectImage(ctx)
	}
	switch {
	case errdefs.IsNotFound(err):
		return entry{}, problem("Image not available", "the engine has no image %s, and pullPolicy is %s", t.plan.image, t.plan.pullPolicy)
	case err != nil:
		return entry{}, explained("Image not available", "look for the image "+t.plan.image, err)
	}
	return found, nil
}

func (t *task) inspectImage(ctx context.Context) (entry, error) {
	limited, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	found, err := t.engine.ImageInspect(limited, t.plan.image)
	if err != nil || found.Config == nil {
		return entry{}, err
	}
	return entry{found.Config.Entrypoint, found.Config.Cmd}, nil
}

func (t *task) pull(ctx context.Context) error {
	options := client.ImagePullOptions{}
	auth, err := t.credentials(ctx)
	if err != nil {
		return err
	}
	if auth != nil {
		if options.RegistryAuth, err = authconfig.Encode(*auth); err != nil {
			return fmt.Errorf("encode the credentials of the registry: %w", err)
		}
	}
	t.note("pulling the image %s", t.plan.image)
	response, err := t.engine.ImagePull(ctx, t.plan.image, options)
	if err != nil {
		return explained("Image not available", "pull the image "+t.plan.image, err)
	}
	defer response.Close() //nolint:errcheck // it was read to its end, or has failed
	if err := response.Wait(ctx); err != nil {
		return explained("Image not available", "pull the image "+t.plan.image, err)
	}
	t.note("pulled the image %s", t.plan.image)
	return nil
}

// note tells in the log what takes its time.
func (t *task) note(format string, args ...any) {
	_, _ = fmt.Fprintf(t.r.Log.Stream("log"), format+"\n", args...) // a log that cannot be written must not fail the task
}

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
	return fromFile(b, t.plan.image), nil
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

// fromFile finds the registry of the image in the file of docker login.
// Helpers for credentials are programs of their own and are not asked.
func fromFile(b []byte, image string) *registry.AuthConfig {
	var file struct {
		Auths map[string]struct {
			Auth          string `json:"auth"`
			IdentityToken string `json:"identitytoken"`
		} `json:"auths"`
	}
	named, err := reference.ParseNormalizedNamed(image)
	if err != nil || json.Unmarshal(b, &file) != nil {
		return nil
	}
	domain := reference.Domain(named)
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
