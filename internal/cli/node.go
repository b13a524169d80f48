package cli

import (
	"context"
	"fmt"
	"os"

	"github.com/spf13/pflag"

	"github.com/downbeat-dev/downbeat/internal/outbound"
	"github.com/downbeat-dev/downbeat/internal/server"
)

// nodeFlags are the flags of commands that carry out runs; they stand over the configuration.
type nodeFlags struct {
	secrets, workflows           string
	authorities                  string
	clientCertificate, clientKey string
	mode                         server.Mode
	offline                      bool
	lenient                      bool // what cannot be reached to be linked is a warning
}

func (f *nodeFlags) add(fl *pflag.FlagSet) {
	fl.StringVar(&f.secrets, "secrets", "", "`FILE` of secrets: a YAML or JSON map (also DOWNBEAT_SECRET_<NAME>)")
	fl.StringVar(&f.authorities, "ca", "", "`FILE` of certificates (PEM) to trust beside the system's")
	fl.StringVar(&f.clientCertificate, "client-cert", "", "`FILE` of the certificate (PEM) to show to servers that ask for one (mutual TLS)")
	fl.StringVar(&f.clientKey, "client-key", "", "`FILE` of its private key (PEM), when that is not in the file of --client-cert")
}

// addOffline is for commands that link a definition.
func (f *nodeFlags) addOffline(fl *pflag.FlagSet) {
	fl.BoolVar(&f.offline, "offline", false, "link the definition from the cache alone, without the network")
}

// addWorkflows is for commands that can meet definitions that a run does not have recorded.
func (f *nodeFlags) addWorkflows(fl *pflag.FlagSet) {
	fl.StringVar(&f.workflows, "workflows", "", "`DIR` of definitions that 'run: workflow' may name")
}

// nodeConfig is what the flags say, over the configuration.
func (a *app) nodeConfig(f nodeFlags) (server.Config, error) {
	for _, x := range []struct{ flag, conf *string }{
		{&f.secrets, &a.conf.Secrets}, {&f.workflows, &a.conf.Workflows}, {&f.authorities, &a.conf.CA},
	} {
		if *x.flag == "" {
			*x.flag = *x.conf
		}
	}
	// A certificate and its key belong together: one of the command line does
	// not go with the other of the configuration, unless that is all there is.
	if f.clientCertificate == "" {
		f.clientCertificate = a.conf.ClientCert
		if f.clientKey == "" {
			f.clientKey = a.conf.ClientKey
		}
	}
	c := server.Config{
		DataDir: a.conf.Data, Mode: f.mode, SecretsFile: f.secrets, Workflows: f.workflows, Grace: a.conf.Grace, Keep: a.conf.Keep, KeepFor: a.conf.KeepFor,
		Version: Version, Environ: a.environ, Clock: a.clock, Logger: a.notes.Logger(), JavaScript: a.conf.JavaScript, Offline: f.offline,
	}
	if c.Workflows != "" {
		if info, err := os.Stat(c.Workflows); err != nil || !info.IsDir() {
			return server.Config{}, usage("", "--workflows %s is no directory", c.Workflows)
		}
	}
	if c.SecretsFile != "" {
		if _, err := os.Stat(c.SecretsFile); err != nil {
			return server.Config{}, usage("", "read the secrets: %w", err)
		}
	}
	files := outbound.Files{Authorities: f.authorities, Certificate: f.clientCertificate, Key: f.clientKey}
	tls, err := files.Read(outbound.Config{Clock: a.clock})
	if err != nil {
		return server.Config{}, usage("--ca, --client-cert and --client-key (ca, client_cert and client_key of the configuration) name files in PEM form", "%w", err)
	}
	for _, certificate := range tls.Certificates {
		if x := certificate.Leaf; x != nil && a.clock.Now().After(x.NotAfter) {
			a.notes.Warn(fmt.Sprintf("client certificate %s ended on %s; servers will refuse it", files.Certificate, x.NotAfter.UTC().Format("2006-01-02 15:04 UTC")))
		}
	}
	if _, err := outbound.New(outbound.Config{Deny: a.conf.Deny, Allow: a.conf.Allow}); err != nil {
		return server.Config{}, usage("deny and allow of the configuration (DOWNBEAT_DENY, DOWNBEAT_ALLOW) hold such rules", "%w", err)
	}
	c.HTTP = server.HTTP{Authorities: tls.Authorities, Certificates: tls.Certificates, Deny: a.conf.Deny, Allow: a.conf.Allow}
	return c, nil
}

// open makes a node on the data directory; flags stand over the configuration.
func (a *app) open(ctx context.Context, f nodeFlags) (*server.Node, error) {
	c, err := a.nodeConfig(f)
	if err != nil {
		return nil, err
	}
	node, err := server.Open(ctx, c)
	if err != nil {
		return nil, &exit{code: exitFaulted, err: err, hint: "--data DIR (or DOWNBEAT_DATA) names another data directory"}
	}
	for _, w := range node.Warnings {
		a.notes.Warn(w)
	}
	return node, nil
}
