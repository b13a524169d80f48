package container

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"math"
	"math/big"
	"net/netip"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"
	"github.com/moby/moby/api/types/network"

	"github.com/downbeat-dev/downbeat/internal/executor"
	"github.com/downbeat-dev/downbeat/internal/executor/process"
	"github.com/downbeat-dev/downbeat/internal/value"
)

// arguments is the section of `run: container` with what stands beside it.
type arguments struct {
	Image       string         `json:"image" required:"true" doc:"The image, such as alpine:3.20 or registry.example.com/team/tool@sha256:…"`
	Name        string         `json:"name" doc:"The name of the container; by default made of the workflow, the task and a UUID of the attempt."`
	Command     string         `json:"command" doc:"A command line for the sh of the image."`
	Arguments   any            `json:"arguments" doc:"Positional parameters of the command; without a command they follow the image's entry point, or else its default command."`
	Stdin       any            `json:"stdin" doc:"What the program reads from its standard input; anything but a string is written as JSON."`
	Environment map[string]any `json:"environment" doc:"Environment variables."`
	Ports       map[string]any `json:"ports" doc:"Ports of the host (or address:port) with the ports of the container that they lead to, such as 8080: 80 or 5353: 53/udp."`
	Volumes     map[string]any `json:"volumes" doc:"Directories of the host, or names of volumes, with the paths where the container has them; :ro at the end makes one read-only."`
	Lifetime    *lifetime      `json:"lifetime" doc:"When the container is removed."`
	PullPolicy  string         `json:"pullPolicy" enum:"ifNotPresent|always|never" default:"ifNotPresent" doc:"When the image is pulled."`
	Resources   resources      `json:"resources" doc:"Limits, from metadata.downbeat.resources."`
	Registry    string         `json:"registry" doc:"The name of a secret with username and password (or token) for the image's registry, from metadata.downbeat.registry."`
	Return      string         `json:"return" enum:"stdout|stderr|code|all|none" default:"stdout" doc:"What the output of the task is."`
	Await       bool           `json:"await" default:"true" doc:"Whether the task waits for the container."`
}

type lifetime struct {
	Cleanup string `json:"cleanup" required:"true" enum:"always|never|eventually" default:"never" doc:"When the container is removed after it has ended."`
	After   any    `json:"after" doc:"How long after its end, with eventually: a duration."`
}

type resources struct {
	CPU    any `json:"cpu" doc:"How many processors: 2, or 0.5."`
	Memory any `json:"memory" doc:"How much memory: 64Mi, 1G, or bytes."`
	Slots  any `json:"slots" doc:"Of interest for placement only."`
}

// plan is what the arguments come to.
type plan struct {
	image      string
	name       string
	command    string   // "" the image's own
	args       []string // of it
	stdin      *string  // nil: nothing to read
	config     container.Config
	host       container.HostConfig
	pullPolicy string
	registry   string
	cleanup    string // always, never, eventually
	result     string // stdout, stderr, code, all, none
}

const (
	labelRun         = "downbeat.run"
	labelActivation  = "downbeat.activation"
	labelAttempt     = "downbeat.attempt"
	labelTask        = "downbeat.task"
	labelWorkflow    = "downbeat.workflow"
	labelRemoveAfter = "downbeat.remove-after"
	labelNode        = "downbeat.node"
	labelDetached    = "downbeat.detached" // nobody waits for it: the end of its run is not its own
)

func planOf(r *executor.Request, node string) (*plan, error) {
	var a arguments
	if err := executor.ReadArguments(r.Arguments, &a); err != nil {
		return nil, err
	}
	p := &plan{image: strings.TrimSpace(a.Image), command: a.Command, pullPolicy: a.PullPolicy, registry: a.Registry, result: a.Return, cleanup: "never"}
	if p.image == "" || strings.ContainsFunc(p.image, func(c rune) bool { return c <= ' ' || c == 0x7f }) {
		return nil, invalid("image %q is no name of an image; it must be one like alpine:3.20", a.Image)
	}
	if strings.TrimSpace(a.Command) == "" {
		p.command = ""
	}
	if hasZero(p.command) {
		return nil, invalid("command holds a zero byte, which no shell takes")
	}
	if p.result == "" {
		p.result = "stdout"
	}
	if p.pullPolicy == "" {
		p.pullPolicy = "ifNotPresent"
	}
	if a.Stdin != nil {
		text := executor.Text(a.Stdin)
		p.stdin = &text
	}
	var err error
	if p.args, err = process.Words(a.Arguments); err != nil {
		return nil, err
	}
	if p.name, err = nameOf(r, a.Name); err != nil {
		return nil, err
	}
	if p.config.Env, err = environment(r, a.Environment); err != nil {
		return nil, err
	}
	if err = p.ports(a.Ports); err != nil {
		return nil, err
	}
	if err = p.volumes(r.RunDirectory, a.Volumes); err != nil {
		return nil, err
	}
	if err = p.limits(a.Resources); err != nil {
		return nil, err
	}
	p.config.Labels = map[string]string{
		labelRun: r.Run.String(), labelActivation: string(r.Activation), labelAttempt: strconv.Itoa(r.Attempt),
		labelTask: r.Reference, labelWorkflow: r.Workflow,
	}
	if node != "" {
		p.config.Labels[labelNode] = node
	}
	if m, ok := r.Arguments.(map[string]any); ok && m["await"] == false {
		p.config.Labels[labelDetached] = "true"
	}
	return p, p.lifetime(a.Lifetime)
}

// lifetime is when the container is removed, DSL 134.
func (p *plan) lifetime(l *lifetime) error {
	if l == nil {
		return nil
	}
	if p.cleanup = l.Cleanup; p.cleanup != "eventually" {
		return nil
	}
	after, err := value.DurationFromValue(l.After)
	if err != nil {
		return invalid("/lifetime/after: %v", err)
	}
	if after.Std() < 0 {
		return invalid("/lifetime/after: %s is before the end of the container", after)
	}
	p.config.Labels[labelRemoveAfter] = after.Std().String()
	return nil
}

var goodName = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.-]{1,126}$`)

// nameOf is the author's name, or {workflow}-{uuid}.{namespace}-{task} with
// both parts short enough for a label of DNS, DSL 136. A second attempt has a
// name of its own: the first one's container may still be there.
func nameOf(r *executor.Request, given string) (string, error) {
	if given == "" {
		sum := sha256.Sum256(fmt.Appendf(nil, "%s\n%s\n%d", r.Run, r.Activation, r.Attempt))
		sum[6], sum[8] = sum[6]&0x0f|0x80, sum[8]&0x3f|0x80
		uuid := fmt.Sprintf("%x-%x-%x-%x-%x", sum[:4], sum[4:6], sum[6:8], sum[8:10], sum[10:16])
		return label(r.WorkflowName, 63-1-len(uuid)) + "-" + uuid + "." + label(r.Namespace, 31) + "-" + label(r.Name, 31), nil
	}
	if r.Attempt > 1 {
		given += "-" + strconv.Itoa(r.Attempt)
	}
	if !goodName.MatchString(given) {
		return "", invalid("name %q: a container's name has letters, digits, '_', '.' and '-', begins with a letter or digit, and is 2 to 127 long", given)
	}
	return given, nil
}

// label makes a part of a name of any text.
func label(s string, most int) string {
	s = strings.Map(func(c rune) rune {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
			return c
		}
		return '-'
	}, s)
	s = strings.Trim(s[:min(len(s), most)], "-")
	if s == "" {
		return "x"
	}
	return s
}

// environment is what the author set, and what tells the program which attempt it is.
func environment(r *executor.Request, authored map[string]any) ([]string, error) {
	m := map[string]string{}
	for name, v := range authored {
		text := executor.Text(v)
		if name == "" || strings.ContainsAny(name, "=\x00") || hasZero(text) {
			return nil, invalid("environment: the variable %q cannot be set: a name has no '=' and neither name nor value a zero byte", name)
		}
		m[name] = text
	}
	return executor.Variables(r, m), nil
}

// ports maps ports of the host to ports of the container.
func (p *plan) ports(authored map[string]any) error {
	if len(authored) == 0 {
		return nil
	}
	p.config.ExposedPorts, p.host.PortBindings = network.PortSet{}, network.PortMap{}
	for _, host := range slices.Sorted(maps.Keys(authored)) {
		inner, err := network.ParsePort(executor.Text(authored[host]))
		if err != nil || inner.Num() == 0 {
			return invalid("/ports/%s: %q is no port of a container; it must be like 80, or 53/udp", host, executor.Text(authored[host]))
		}
		var binding network.PortBinding
		port := host
		if at, err := netip.ParseAddrPort(host); err == nil {
			binding.HostIP, port = at.Addr(), strconv.Itoa(int(at.Port()))
		}
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 && port != "0" {
			return invalid("/ports: %q is no port of the host; it must be like 8080, or 127.0.0.1:8080", host)
		}
		binding.HostPort = port
		p.config.ExposedPorts[inner] = struct{}{}
		p.host.PortBindings[inner] = append(p.host.PortBindings[inner], binding)
	}
	return nil
}

// volumes mounts directories of the host and named volumes.
func (p *plan) volumes(base string, authored map[string]any) error {
	for _, source := range slices.Sorted(maps.Keys(authored)) {
		target, ok := authored[source].(string)
		m := mount.Mount{Type: mount.TypeBind, Source: source}
		target, m.ReadOnly = strings.CutSuffix(target, ":ro")
		m.Target = strings.TrimSuffix(target, ":rw")
		if !ok || !strings.HasPrefix(m.Target, "/") || hasZero(m.Target) {
			return invalid("/volumes/%s: where the container has it must be an absolute path, like /data or /data:ro", source)
		}
		switch {
		case source == "" || hasZero(source):
			return invalid("/volumes: %q is neither a directory of the host nor the name of a volume", source)
		case filepath.IsAbs(source):
		case strings.ContainsAny(source, `/\`) || source == "." || source == "..":
			m.Source = filepath.Join(base, source)
		case goodName.MatchString(source):
			m.Type = mount.TypeVolume
		default:
			return invalid("/volumes: %q is neither a directory of the host nor the name of a volume; a relative directory begins with ./", source)
		}
		p.host.Mounts = append(p.host.Mounts, m)
	}
	return nil
}

// limits are those of metadata.downbeat.resources.
func (p *plan) limits(r resources) error {
	cpu, ok := amount(r.CPU)
	if !ok || cpu < 0 || cpu > 1e6 {
		return invalid("/resources/cpu: %q is no number of processors; it must be like 2 or 0.5", executor.Text(r.CPU))
	}
	memory, ok := amount(r.Memory)
	if !ok || memory < 0 || memory > math.MaxInt64/2 {
		return invalid("/resources/memory: %q is no amount of memory; it must be like 64Mi, 1G or a number of bytes", executor.Text(r.Memory))
	}
	p.host.NanoCPUs = int64(math.Round(cpu * 1e9))
	p.host.Memory = int64(memory)
	p.host.MemorySwap = p.host.Memory // else as much again is swapped
	return nil
}

var units = map[string]float64{
	"": 1, "m": 1e-3, "k": 1e3, "K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30, "Ti": 1 << 40,
	"B": 1, "kB": 1e3, "KB": 1e3, "MB": 1e6, "GB": 1e9, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30,
}

// amount reads a number with a unit; nothing is 0.
func amount(v any) (float64, bool) {
	switch v := v.(type) {
	case nil:
		return 0, true
	case int:
		return float64(v), true
	case float64:
		return v, true
	case *big.Int:
		f, _ := new(big.Float).SetInt(v).Float64()
		return f, true
	case string:
		v = strings.TrimSpace(v)
		digits := strings.TrimRight(v, "kKMGTimB ")
		unit, known := units[strings.TrimSpace(v[len(digits):])]
		n, err := strconv.ParseFloat(digits, 64)
		return n * unit, known && err == nil && !math.IsNaN(n)
	}
	return 0, false
}

func hasZero(s string) bool { return strings.IndexByte(s, 0) >= 0 }

// removeAfter reads the label of a container that is removed eventually.
func removeAfter(labels map[string]string) (time.Duration, bool) {
	d, err := time.ParseDuration(labels[labelRemoveAfter])
	return d, err == nil
}
