package workflow

import (
	"fmt"
	"strings"
)

// expr is an expression-typed property (DSL 38, D14).
func (d *decoder) expr(n *node, a at) *Expr {
	if n == nil {
		return nil
	}
	if b, ok := n.scalar.(bool); ok {
		d.report(Finding{Pos: n.pos, Severity: SeverityHint, Rule: "portable/expression", DSL: "DSL 38", Message: fmt.Sprintf("%s is the boolean %t", a.what, b), Allowed: "other runtimes want text: put it in quotes"})
		return &Expr{Pos: n.pos, Source: fmt.Sprint(b)}
	}
	t, ok := n.scalar.(string)
	if !ok {
		d.wrong(n, a, "an expression")
		return nil
	}
	if strings.TrimSpace(t) == "" {
		d.invalid(n, a, "value", a.what+" is empty", "it must be an expression")
		return nil
	}
	return &Expr{Pos: n.pos, Source: t}
}

// selector is from or as: an expression, or an object that is a template (DSL 25).
func (d *decoder) selector(n *node, a at) *Value {
	if n == nil {
		return nil
	}
	if t, ok := n.scalar.(string); n.kind != MapValue && (!ok || strings.TrimSpace(t) == "") {
		d.wrong(n, a, "an expression or a map")
		return nil
	}
	return valueOf(n)
}

func (d *decoder) dataIn(n *node, a at) *DataIn {
	if n == nil || !d.properties(n, a, false, []string{"schema", "from"}) {
		return nil
	}
	return &DataIn{Pos: n.pos, Schema: d.schema(n.field("schema"), a.in("schema")), From: d.selector(n.field("from"), a.in("from"))}
}

func (d *decoder) dataOut(n *node, a at) *DataOut {
	if n == nil || !d.properties(n, a, false, []string{"schema", "as"}) {
		return nil
	}
	return &DataOut{Pos: n.pos, Schema: d.schema(n.field("schema"), a.in("schema")), As: d.selector(n.field("as"), a.in("as"))}
}

// schema is a schema section (DSL 206).
func (d *decoder) schema(n *node, a at) *Schema {
	if n == nil {
		return nil
	}
	a.dsl = "DSL 206"
	if !d.properties(n, a, false, []string{"format", "document", "resource"}) {
		return nil
	}
	s := &Schema{Pos: n.pos, Format: "json"}
	if f := n.field("format"); f != nil {
		s.Format = d.str(f, a.in("format"), someText)
		if name, _, _ := strings.Cut(s.Format, ":"); name != "json" && s.Format != "" {
			d.report(Finding{Pos: f.pos, Severity: SeverityUnsupported, Rule: "schema/format", DSL: "DSL 206", Message: fmt.Sprintf("schemas of the format %s cannot be checked", quote(s.Format)), Allowed: "json, or json with a version (json:2020-12), is understood"})
		}
	}
	switch d.exactlyOne(n, a, "document", "resource") {
	case "document":
		s.Document = valueOf(n.field("document"))
	case "resource":
		s.Resource = d.resource(n.field("resource"), a.in("resource"))
	}
	return s
}

// resource is an external resource (DSL 201).
func (d *decoder) resource(n *node, a at) *Resource {
	a.dsl = "DSL 201"
	if !d.properties(n, a, false, []string{"name", "endpoint"}) {
		return nil
	}
	r := &Resource{Pos: n.pos, Name: d.str(n.field("name"), a.in("name"), text)}
	if e := n.field("endpoint"); e != nil {
		r.Endpoint = d.endpoint(e, a.in("endpoint"))
	} else {
		d.missing(n, a, "endpoint")
	}
	return r
}

// endpoint is a URI, or a map of a URI and an authentication (DSL 59).
func (d *decoder) endpoint(n *node, a at) Endpoint {
	a.dsl = "DSL 59"
	e := Endpoint{Pos: n.pos}
	if n.kind != MapValue {
		uri(d, n, a)
		e.URI = n.value()
		return e
	}
	d.properties(n, a, false, []string{"uri", "authentication"})
	if u := n.field("uri"); u != nil {
		uri(d, u, a.in("uri"))
		e.URI = u.value()
	} else {
		d.missing(n, a, "uri")
	}
	if x := n.field("authentication"); x != nil {
		e.Auth = d.auth(x, a.in("authentication"), true)
	}
	return e
}

func endpointShape(d *decoder, n *node, a at) { d.endpoint(n, a) }
func resourceShape(d *decoder, n *node, a at) { d.resource(n, a) }
func authShape(d *decoder, n *node, a at)     { d.auth(n, a, true) }
func durationShape(d *decoder, n *node, a at) { d.duration(n, a) }

// duration is an object of whole numbers, an ISO 8601 string, or an expression (DSL 202-204).
func (d *decoder) duration(n *node, a at) *Duration {
	if n == nil {
		return nil
	}
	const want = "an ISO 8601 duration such as PT15M, a map of days, hours, minutes, seconds, milliseconds, or an expression in ${ }"
	if n.kind == MapValue {
		a.dsl = "DSL 202"
		units := []string{"days", "hours", "minutes", "seconds", "milliseconds"}
		d.properties(n, a, false, units)
		if len(n.keys) == 0 {
			d.wrong(n, a, "a map with at least one of "+strings.Join(units, ", "))
		}
		for i, k := range n.keys {
			if f := n.items[i]; f.kind != ScalarValue || !isInt(f.scalar) {
				orExprHint(d, f, a.in(k.name))
			}
		}
		return &Duration{n.pos, n.value()}
	}
	t, ok := n.scalar.(string)
	if !ok {
		a.dsl = "DSL 202-204"
		d.wrong(n, a, want)
		return nil
	}
	if !isDynamic(t) && !IsDuration(t) {
		d.invalid(n, at{a.section, a.what, "DSL 203"}, "duration", fmt.Sprintf("%s is %s", a.what, quote(t)), "it must be "+want)
	}
	return &Duration{n.pos, n.value()}
}

func isInt(v any) bool { _, ok := v.(int); return ok }

// orExprHint is for the fields of a duration: whole numbers by the schema,
// expressions as authors need them.
func orExprHint(d *decoder, n *node, a at) {
	if t, ok := n.scalar.(string); ok && isWrapped(t) {
		d.report(Finding{Pos: n.pos, Severity: SeverityHint, Rule: "portable/duration", DSL: "DSL 202", Message: a.what + " is an expression", Allowed: "other runtimes want a whole number; an expression may give the whole duration as ISO 8601"})
		return
	}
	d.wrong(n, a, "a whole number")
}

// IsDuration reports whether s is an ISO 8601 duration as the specification's
// schema has them: P, then Y M W D, then T with H M S, each at most once and in
// that order, with fractions, without a sign (DSL 203).
func IsDuration(s string) bool {
	rest, ok := strings.CutPrefix(s, "P")
	if !ok || rest == "" {
		return false
	}
	units := "YMWD"
	inTime := false
	for rest != "" {
		if rest[0] == 'T' {
			if inTime || len(rest) == 1 {
				return false
			}
			inTime, units, rest = true, "HMS", rest[1:]
			continue
		}
		i := 0
		for i < len(rest) && (rest[i] >= '0' && rest[i] <= '9' || rest[i] == '.') {
			i++
		}
		before, after, point := strings.Cut(rest[:i], ".")
		if i == len(rest) || !isDigits(before, 10) || point && !isDigits(after, 10) {
			return false
		}
		u := strings.IndexByte(units, rest[i])
		if u < 0 {
			return false
		}
		units, rest = units[u+1:], rest[i+1:]
	}
	return true
}

var (
	grants  = []string{"authorization_code", "client_credentials", "password", "refresh_token", "urn:ietf:params:oauth:grant-type:token-exchange"}
	schemes = []string{"basic", "bearer", "digest", "oauth2", "oidc"}
	token   = object(false, need("token", text), need("type", text))

	// The settings of oauth2 and oidc (DSL 159-165).
	openID = []prop{
		need("authority", uri), need("grant", orExpr(oneOfWords(grants...))),
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
func (d *decoder) auth(n *node, a at, named bool) *Auth {
	a.section, a.dsl = "authentication", "DSL 154"
	known := schemes
	if named {
		known = append([]string{"use"}, schemes...)
	}
	if !d.properties(n, a, false, known) {
		return nil
	}
	auth := &Auth{Pos: n.pos, Scheme: d.exactlyOne(n, a, known...)}
	switch auth.Scheme {
	case "":
		return nil
	case "use":
		u := n.field("use")
		auth.Scheme, auth.Use = "", d.str(u, a.in("use"), someText)
		if auth.Use != "" {
			d.resolve(u, "authentications", auth.Use, "DSL 21")
		}
		return auth
	}
	s := n.field(auth.Scheme)
	a = a.in(auth.Scheme)
	if u := s.field("use"); u != nil {
		a.dsl = "DSL 155"
		d.properties(s, a, false, []string{"use"})
		auth.Secret = d.str(u, a.in("use"), someText)
		if auth.Secret != "" {
			d.resolve(u, "secrets", auth.Secret, "DSL 21, DSL 155")
		}
		return auth
	}
	schemeShapes[auth.Scheme](d, s, a)
	auth.With = s.value()
	return auth
}
