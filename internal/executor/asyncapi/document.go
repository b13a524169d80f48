package asyncapi

import (
	"maps"
	"net/url"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/downbeat-dev/downbeat/internal/executor"
	"github.com/downbeat-dev/downbeat/internal/outbound"
)

// object is a JSON object.
type object = map[string]any

// document is one AsyncAPI document, as a value, with the files to which it refers.
type document struct {
	root    object
	old     bool     // version 2
	order   []string // of its servers
	where   *outbound.Resource
	read    reader
	files   map[string]any // by URL
	count   int            // of those files
	bytes   int            // of all texts
	problem error          // with a reference that was followed
}

func readDocument(source *outbound.Resource, read reader) (*document, error) {
	base := location(source)
	v, err := decode(source, base)
	if err != nil {
		return nil, invalid("the document %s cannot be read: %v", source, err)
	}
	d := &document{where: source, root: objectOf(v), read: read, files: map[string]any{base.String(): v}, bytes: len(source.Bytes)}
	switch version := executor.Text(d.root["asyncapi"]); {
	case strings.HasPrefix(version, "2"):
		d.old = true
	case strings.HasPrefix(version, "3"):
	case version == "":
		return nil, invalid("%s is no AsyncAPI document: it has no asyncapi, which says its version", source)
	default:
		return nil, invalid("the document %s is of AsyncAPI %.20s; 2 and 3 are known", source, version)
	}
	// The order of the servers counts, which a map has lost.
	var ordered struct {
		Servers yaml.Node `yaml:"servers"`
	}
	if yaml.Unmarshal(source.Bytes, &ordered) == nil {
		for i := 0; i < len(ordered.Servers.Content); i += 2 {
			d.order = append(d.order, ordered.Servers.Content[i].Value)
		}
	}
	if len(d.order) == 0 || d.order[0] == "$ref" {
		d.order = slices.Sorted(maps.Keys(d.part("servers")))
	}
	return d, d.problem
}

// part is a map of the document: of servers, channels, or operations.
func (d *document) part(name string) object { return d.follow(d.root[name]) }

func unescape(token string) string {
	if text, err := url.PathUnescape(token); err == nil {
		token = text
	}
	return strings.NewReplacer("~1", "/", "~0", "~").Replace(token)
}

// channel is where messages go or come from.
type channel struct {
	name        string
	address     string
	server      server
	bindings    object // of the channel
	operation   object // bindings of the operation
	message     object // the first that the document describes
	contentType string
	correlation string // where in a message its id is
}

// binding is a setting of the operation for the protocol, else of the channel.
func (c *channel) binding(name string) any {
	for _, b := range []object{c.operation, c.bindings} {
		if v, ok := b[name]; ok {
			return v
		}
	}
	return nil
}

// channel finds what the call names.
func (d *document) channel(a *arguments) (*channel, error) {
	c, err := d.find(a)
	if d.problem != nil {
		return nil, d.problem // whatever else it led to
	}
	return c, err
}

func (d *document) find(a *arguments) (*channel, error) {
	c := &channel{contentType: stringOf(d.root["defaultContentType"])}
	var described, operation object
	var servers []candidate
	if d.old {
		if a.Channel == "" {
			return nil, invalid("the document %s is of AsyncAPI 2: name a channel, not an operation", d.where)
		}
		c.name = strings.TrimPrefix(a.Channel, "#/channels/")
		all := d.part("channels")
		if all[c.name] == nil {
			return nil, d.unknown("channel", a.Channel, all)
		}
		described = d.follow(all[c.name])
		c.address = c.name
		side := "publish"
		if a.Subscription != nil {
			side = "subscribe"
		}
		if operation = d.follow(described[side]); operation == nil {
			// Whose view a document takes is often mistaken.
			operation = d.follow(described[map[string]string{"publish": "subscribe", "subscribe": "publish"}[side]])
		}
		c.message = d.firstMessage(operation["message"])
		for _, s := range listOf(described["servers"]) {
			servers = append(servers, candidate{stringOf(s), d.part("servers")[stringOf(s)]})
		}
	} else {
		if a.Operation == "" {
			return nil, invalid("the document %s is of AsyncAPI 3: name an operation, not a channel", d.where)
		}
		all := d.part("operations")
		called := unescape(strings.TrimPrefix(a.Operation, "#/operations/"))
		if all[called] == nil {
			return nil, d.unknown("operation", a.Operation, all)
		}
		operation = d.follow(all[called])
		c.name = nameOf(operation["channel"])
		if described = d.follow(operation["channel"]); described == nil {
			return nil, invalid("the operation %q in the document %s has no channel", called, d.where)
		}
		if c.address = stringOf(described["address"]); c.address == "" {
			c.address = c.name
		}
		if list := listOf(operation["messages"]); len(list) > 0 {
			c.message = d.follow(list[0])
		} else if m := objectOf(described["messages"]); len(m) > 0 {
			c.message = d.follow(m[slices.Sorted(maps.Keys(m))[0]])
		}
		for _, s := range listOf(described["servers"]) {
			servers = append(servers, candidate{nameOf(s), s})
		}
	}
	if t := stringOf(c.message["contentType"]); t != "" {
		c.contentType = t
	}
	var err error
	if c.server, err = d.server(a, servers); err != nil {
		return nil, err
	}
	var variables object
	if a.Server != nil {
		variables = a.Server.Variables
	}
	c.correlation = stringOf(d.follow(c.message["correlationId"])["location"])
	if c.address, err = d.fill(c.address, variables, d.follow(described["parameters"])); err != nil {
		return nil, err
	}
	c.bindings, c.operation = d.bindings(described, c.server.protocol), d.bindings(operation, c.server.protocol)
	return c, nil
}

func (d *document) firstMessage(v any) object {
	m := d.follow(v)
	if list := listOf(m["oneOf"]); len(list) > 0 {
		return d.follow(list[0])
	}
	return m
}

// family is the protocol without its version: documents have bindings of mqtt for both.
func family(protocol string) string { return strings.TrimSuffix(protocol, "5") }

// bindings are the settings for a protocol, by any of its names.
func (d *document) bindings(of object, protocol string) object {
	all := d.follow(of["bindings"])
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if family(known[name]) == family(protocol) {
			return d.follow(all[name])
		}
	}
	return nil
}

func (d *document) unknown(what, name string, all object) error {
	return invalid("the document %s has no %s %q; it has [%s]", d.where, what, name, strings.Join(slices.Sorted(maps.Keys(all)), ", "))
}

// server is a server with its variables filled in.
type server struct {
	name     string
	protocol string // as in protocols
	secure   bool
	address  string // host:port, for Kafka several
	path     string
	bindings object
}

// known are the protocols by their names in documents.
var known = map[string]string{
	"http": "http", "https": "http", "ws": "ws", "wss": "ws", "kafka": "kafka", "kafka-secure": "kafka", "amqp": "amqp", "amqps": "amqp",
	"mqtt": "mqtt", "mqtt5": "mqtt5", "mqtts": "mqtt", "secure-mqtt": "mqtt", "nats": "nats", "redis": "redis", "rediss": "redis",
}

var securely = map[string]bool{"https": true, "wss": true, "kafka-secure": true, "amqps": true, "mqtts": true, "secure-mqtt": true, "rediss": true, "tls": true, "ssl": true}

// candidate is a server that may be chosen.
type candidate struct {
	name      string
	described any
}

// server chooses the server (DSL 74): by its name, by the protocol, or the
// first whose protocol is known.
func (d *document) server(a *arguments, allowed []candidate) (server, error) {
	all := d.part("servers")
	var variables object
	if a.Server != nil {
		named, there := within(allowed, a.Server.Name)
		if all[a.Server.Name] != nil {
			named = candidate{a.Server.Name, all[a.Server.Name]}
		} else if !there {
			return server{}, d.unknown("server", a.Server.Name, all)
		}
		allowed, variables = []candidate{named}, a.Server.Variables
	}
	if len(allowed) == 0 {
		for _, name := range d.order {
			allowed = append(allowed, candidate{name, all[name]})
		}
	}
	var seen []string
	for _, one := range allowed {
		name, s := one.name, d.follow(one.described)
		protocol := strings.ToLower(stringOf(s["protocol"]))
		seen = append(seen, name+" ("+protocol+")")
		if protocols[known[protocol]].publish == nil || a.Server == nil && a.Protocol != "" && known[protocol] != known[a.Protocol] {
			continue
		}
		out := server{name: name, protocol: versioned(known[protocol], executor.Text(s["protocolVersion"])), secure: securely[protocol], bindings: d.bindings(s, known[protocol])}
		text := stringOf(s["url"])
		if !d.old {
			text = stringOf(s["host"]) + stringOf(s["pathname"])
		}
		text, err := d.fill(text, variables, d.follow(s["variables"]))
		if err != nil {
			return server{}, err
		}
		if scheme, rest, ok := strings.Cut(text, "://"); ok {
			out.secure = out.secure || securely[strings.ToLower(scheme)]
			text = rest
		}
		out.address, out.path = text, ""
		if i := strings.IndexByte(text, '/'); i >= 0 {
			out.address, out.path = text[:i], text[i:]
		}
		if out.address == "" || strings.ContainsAny(out.address, "@ ?#\x00\n") {
			return server{}, invalid("the server %q in the document %s has no proper host; it must be like example.com:1234", name, d.where)
		}
		return out, nil
	}
	carried := strings.Join(slices.Sorted(maps.Keys(protocols)), ", ")
	if a.Server == nil && a.Protocol != "" && protocols[known[a.Protocol]].publish == nil {
		return server{}, invalid("the protocol %q is not carried out; those known are %s", a.Protocol, carried)
	}
	return server{}, invalid("no server in the document %s fits; it has [%s], and known are the protocols %s", d.where, strings.Join(seen, ", "), carried)
}

// versioned is the protocol that a server of mqtt speaks, which its version may tell.
func versioned(protocol, version string) string {
	if protocol == "mqtt" && strings.HasPrefix(version, "5") {
		return "mqtt5"
	}
	return protocol
}

// fill puts variables in the place of {name}.
func (d *document) fill(text string, given, described object) (string, error) {
	var out strings.Builder
	for {
		before, rest, ok := strings.Cut(text, "{")
		name, after, closed := strings.Cut(rest, "}")
		out.WriteString(before)
		if !ok || !closed {
			return out.String(), nil
		}
		v, there := given[name]
		if !there {
			v = d.fallback(described[name])
		}
		if v == nil {
			return "", invalid("the variable %q has no value; give it in /server/variables", name)
		}
		out.WriteString(executor.Text(v))
		text = after
	}
}

// The readers of parts that may be of the wrong type, and then count as absent.

func listOf(v any) []any    { l, _ := v.([]any); return l }
func objectOf(v any) object { m, _ := v.(object); return m }
func stringOf(v any) string { s, _ := v.(string); return s }
