package container

import (
	"context"
	"fmt"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/pkg/authconfig"
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
