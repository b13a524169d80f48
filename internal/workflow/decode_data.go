package workflow

import (
	"fmt"
	"strings"

	"github.com/downbeat-dev/downbeat/internal/source"
	"github.com/downbeat-dev/downbeat/internal/value"
)

// expr is an expression-typed property (DSL 38, D14).
func (d *decoder) expr(n *source.Node, a at) *Expr {
	if n == nil {
		return nil
	}
	if b, ok := n.Scalar.(bool); ok {
		d.report(Finding{Pos: n.Pos, Severity: SeverityHint, Rule: "portable/expression", DSL: "DSL 38", Message: fmt.Sprintf("%s is the boolean %t", a.what, b), Allowed: "other runtimes want text: put it in quotes"})
		return &Expr{Pos: n.Pos, Source: fmt.Sprint(b)}
	}
	t, ok := n.Scalar.(string)
	if !ok {
		d.wrong(n, a, "an expression")
		return nil
	}
	if strings.TrimSpace(t) == "" {
		d.invalid(n, a, "value", a.what+" is empty", "it must be an expression")
		return nil
	}
	return &Expr{Pos: n.Pos, Source: t}
}

// selector is from or as: an expression, or an object that is a template (DSL 25).
func (d *decoder) selector(n *source.Node, a at) *Value {
	if n == nil {
		return nil
	}
	if t, ok := n.Scalar.(string); n.Kind != MapValue && (!ok || strings.TrimSpace(t) == "") {
		d.wrong(n, a, "an expression or a map")
		return nil
	}
	return valueOf(n)
}

func (d *decoder) dataIn(n *source.Node, a at) *DataIn {
	if n == nil || !d.properties(n, a, false, []string{"schema", "from"}) {
		return nil
	}
	return &DataIn{Pos: n.Pos, Schema: d.schema(n.Field("schema"), a.in("schema")), From: d.selector(n.Field("from"), a.in("from"))}
}

func (d *decoder) dataOut(n *source.Node, a at) *DataOut {
	if n == nil || !d.properties(n, a, false, []string{"schema", "as"}) {
		return nil
	}
	return &DataOut{Pos: n.Pos, Schema: d.schema(n.Field("schema"), a.in("schema")), As: d.selector(n.Field("as"), a.in("as"))}
}

// schema is a schema section (DSL 206).
func (d *decoder) schema(n *source.Node, a at) *Schema {
	if n == nil {
		return nil
	}
	a.dsl = "DSL 206"
	if !d.properties(n, a, false, []string{"format", "document", "resource"}) {
		return nil
	}
	s := &Schema{Pos: n.Pos, Format: "json"}
	if f := n.Field("format"); f != nil {
		s.Format = d.str(f, a.in("format"), someText)
		if name, _, _ := strings.Cut(s.Format, ":"); name != "json" && s.Format != "" {
			d.report(Finding{Pos: f.Pos, Severity: SeverityUnsupported, Rule: "schema/format", DSL: "DSL 206", Message: fmt.Sprintf("schemas of the format %s cannot be checked", source.Quote(s.Format)), Allowed: "json, or json with a version (json:2020-12), is understood"})
		}
	}
	switch d.exactlyOne(n, a, "document", "resource") {
	case "document":
		s.Document = valueOf(n.Field("document"))
	case "resource":
		s.Resource = d.resource(n.Field("resource"), a.in("resource"))
	}
	return s
}

// resource is an external resource (DSL 201).
func (d *decoder) resource(n *source.Node, a at) *Resource {
	a.dsl = "DSL 201"
	if !d.properties(n, a, false, []string{"name", "endpoint"}) {
		return nil
	}
	r := &Resource{Pos: n.Pos, Name: d.str(n.Field("name"), a.in("name"), text)}
	if e := n.Field("endpoint"); e != nil {
		r.Endpoint = d.endpoint(e, a.in("endpoint"))
	} else {
		d.missing(n, a, "endpoint")
	}
	return r
}

// endpoint is a URI, or a map of a URI and an authentication (DSL 59).
func (d *decoder) endpoint(n *source.Node, a at) Endpoint {
	a.dsl = "DSL 59"
	e := Endpoint{Pos: n.Pos}
	if n.Kind != MapValue {
		uri(d, n, a)
		e.URI = toValue(n)
		return e
	}
	d.properties(n, a, false, []string{"uri", "authentication"})
	if u := n.Field("uri"); u != nil {
		uri(d, u, a.in("uri"))
		e.URI = toValue(u)
	} else {
		d.missing(n, a, "uri")
	}
	if x := n.Field("authentication"); x != nil {
		e.Auth = d.auth(x, a.in("authentication"), true)
	}
	return e
}

func endpointShape(d *decoder, n *source.Node, a at) { d.endpoint(n, a) }
func resourceShape(d *decoder, n *source.Node, a at) { d.resource(n, a) }
func authShape(d *decoder, n *source.Node, a at)     { d.auth(n, a, true) }
func durationShape(d *decoder, n *source.Node, a at) { d.duration(n, a) }

// duration is an object of whole numbers, an ISO 8601 string, or an expression (DSL 202-204).
func (d *decoder) duration(n *source.Node, a at) *Duration {
	if n == nil {
		return nil
	}
	const want = "an ISO 8601 duration such as PT15M, a map of days, hours, minutes, seconds, milliseconds, or an expression in ${ }"
	if n.Kind == MapValue {
		a.dsl = "DSL 202"
		units := []string{"days", "hours", "minutes", "seconds", "milliseconds"}
		d.properties(n, a, false, units)
		if len(n.Keys) == 0 {
			d.wrong(n, a, "a map with at least one of "+strings.Join(units, ", "))
		}
		for i, k := range n.Keys {
			if v, ok := n.Items[i].Scalar.(int); !ok || v < 0 {
				orExprHint(d, n.Items[i], a.in(k.Name))
			}
		}
		return &Duration{n.Pos, toValue(n)}
	}
	t, ok := n.Scalar.(string)
	if !ok {
		a.dsl = "DSL 202-204"
		d.wrong(n, a, want)
		return nil
	}
	if !source.IsDynamic(t) {
		if _, err := value.ParseDuration(t); err != nil {
			d.invalid(n, at{a.section, a.what, "DSL 203"}, "duration", fmt.Sprintf("%s: %v", a.what, err), "")
		}
	}
	return &Duration{n.Pos, toValue(n)}
}

// orExprHint is for the fields of a duration: whole numbers by the schema,
// expressions as authors need them.
func orExprHint(d *decoder, n *source.Node, a at) {
	if t, ok := n.Scalar.(string); ok && source.IsWrapped(t) {
		d.report(Finding{Pos: n.Pos, Severity: SeverityHint, Rule: "portable/duration", DSL: "DSL 202", Message: a.what + " is an expression", Allowed: "other runtimes want a whole number; an expression may give the whole duration as ISO 8601"})
		return
	}
	d.wrong(n, a, "a whole number, not negative")
}

var (
	grants  = []string{"authorization_code", "client_credentials", "password", "refresh_token", "urn:ietf:params:oauth:grant-type:token-exchange"}
	schemes = []string{"basic", "bearer", "digest", "oauth2", "oidc"}
	token   = object(false, need("token", text), need("type", text))

	// The settings of oauth2 and oidc (DSL 159-165).
	openID = []prop{
		need("authority", uri), need("grant", orOurExpr(oneOfWords(grants...))),
		may("client", object(false, may("id", text), may("secret", text), may("assertion", text),
			may("authentication", oneOfWords("client_secret_basic", "client_secret_post", "client_secret_jwt", "private_key_jwt", "none")))),
		may("request", object(true, may("encoding", oneOfWords("application/x-www-form-urlencoded", "application/json")))),
		may("issuers", listOf(text)), may("scopes", listOf(text)), may("audiences", listOf(text)), may("username", text),
		may("password", text), may("subject", token), may("actor", token),
	}
	endpoints    = object(true, may("token", uri), may("revocation", uri), may("introspection", uri))
	schemeShapes = map[string]shape{
		"basic":  object(false, need("username", text), need("password", text)),
		"bearer": object(false, need("token", text)),
		"digest": object(false, need("username", text), need("password", text)),
		"oauth2": object(false, append([]prop{may("endpoints", endpoints)}, openID...)...),
		"oidc":   object(false, openID...),
	}
)

// auth is an authentication policy, or the name of one where named (DSL 154-165).
func (d *decoder) auth(n *source.Node, a at, named bool) *Auth {
	a.section, a.dsl = "authentication", "DSL 154"
	known := schemes
	if named {
		known = append([]string{"use"}, schemes...)
	}
	if !d.properties(n, a, false, known) {
		return nil
	}
	auth := &Auth{Pos: n.Pos, Scheme: d.exactlyOne(n, a, known...)}
	switch auth.Scheme {
	case "":
		return nil
	case "use":
		u := n.Field("use")
		auth.Scheme, auth.Use = "", d.str(u, a.in("use"), someText)
		if auth.Use != "" {
			d.resolve(u, "authentications", auth.Use, "DSL 21")
		}
		return auth
	}
	s := n.Field(auth.Scheme)
	a = a.in(auth.Scheme)
	if u := s.Field("use"); u != nil {
		a.dsl = "DSL 155"
		d.properties(s, a, false, []string{"use"})
		auth.Secret = d.str(u, a.in("use"), someText)
		if auth.Secret != "" {
			d.resolve(u, "secrets", auth.Secret, "DSL 21, DSL 155")
		}
		return auth
	}
	schemeShapes[auth.Scheme](d, s, a)
	auth.With = toValue(s)
	return auth
}
