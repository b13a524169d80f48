package openapi

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"maps"
	"mime"
	"mime/multipart"
	"net/textproto"
	"slices"
	"strings"

	"github.com/downbeat-dev/downbeat/internal/executor"
	"github.com/downbeat-dev/downbeat/internal/outbound"
	"github.com/downbeat-dev/downbeat/internal/value"
)

// body is the body that an operation takes.
type body struct {
	name     string   // Swagger: of the parameter
	required bool     //
	types    []string // media types; may be none, and have wildcards
	content  object   // OpenAPI 3: media type → schema, encoding
	schema   object   // Swagger: of the parameter
}

const (
	formType      = "application/x-www-form-urlencoded"
	multipartType = "multipart/form-data"
)

// rank orders media types by how well a value can be sent as one.
func rank(contentType string) int {
	name, _, _ := mime.ParseMediaType(contentType)
	switch {
	case name == "application/json":
		return 0
	case strings.HasSuffix(name, "+json") || name == "text/json" || name == "*/*" || name == "application/*":
		return 1
	case name == formType:
		return 2
	case name == multipartType:
		return 3
	case strings.HasPrefix(name, "text/"):
		return 4
	}
	return 5
}

// choose picks the media type of the body.
func (y *body) choose(v any) string {
	_, text := v.(string)
	if len(y.types) == 0 {
		return "application/json"
	}
	best := slices.MinFunc(y.types, func(a, b string) int { return rank(a) - rank(b) })
	switch {
	case !strings.Contains(best, "*"):
		return best
	case strings.HasPrefix(best, "text/") || text && best == "*/*":
		return "text/plain; charset=utf-8"
	case best == "*/*" || best == "application/*":
		return "application/json"
	}
	return "application/octet-stream"
}

// content makes the body: of what was given as body, or of all that is left
// over. ContentType is what the caller wants, or "".
func (b *builder) content(contentType string) ([]byte, string, error) {
	y := b.body
	if y == nil {
		v := b.take("body", false)
		if v == nil {
			return nil, "", nil
		}
		y = &body{} // the document says nothing of it; the caller knows better
		return b.encode(y, v, orElse(contentType, y.choose(v)))
	}
	var v any
	if len(b.form) > 0 {
		v = b.formFields()
	} else {
		v = b.take("body", false)
		if v == nil && y.name != "" {
			v = b.take(y.name, false)
		}
		if v == nil {
			v = b.leftover()
		}
	}
	if v == nil {
		if y.required {
			b.missing = append(b.missing, orElse(y.name, "body")+" (the request's body)")
		}
		return nil, "", nil
	}
	return b.encode(y, v, orElse(contentType, y.choose(v)))
}

func orElse(text, other string) string {
	if text == "" {
		return other
	}
	return text
}

// leftover is an object of what no parameter took; nil if there is nothing, or
// if the method has no body and what is left is a mistake.
func (b *builder) leftover() any {
	rest := object{}
	for k, v := range b.given {
		if !b.used[k] {
			rest[k] = v
		}
	}
	if len(rest) == 0 || !hasBody(b.method) {
		return nil
	}
	for k := range rest {
		b.used[k] = true
	}
	return rest
}

// formBody is the body that Swagger's parameters in formData are.
func (o *operation) formBody() *body {
	y := &body{content: object{}}
	for _, name := range o.consumes() {
		if name == formType || name == multipartType {
			y.types = append(y.types, name)
		}
	}
	files := slices.ContainsFunc(o.form, func(p *parameter) bool { return p.schema["type"] == "file" })
	switch {
	case files:
		y.types = []string{multipartType}
	case len(y.types) == 0:
		y.types = []string{formType}
	}
	return y
}

// formFields collects the parameters in formData.
func (b *builder) formFields() any {
	fields := object{}
	for _, p := range b.form {
		v := b.take(p.name, false)
		if v == nil && p.required {
			v = p.fallback()
		}
		if v != nil {
			fields[p.name] = v
		} else if p.required {
			b.missing = append(b.missing, p.name+" (in the form)")
		}
	}
	if len(fields) == 0 {
		return nil
	}
	return fields
}

// encode writes v as contentType.
func (b *builder) encode(y *body, v any, contentType string) ([]byte, string, error) {
	name, _, err := mime.ParseMediaType(contentType)
	if err != nil || strings.ContainsAny(contentType, "\r\n") {
		return nil, "", invalid("operation %s: the Content-Type is no media type", b.id)
	}
	text, isText := v.(string)
	fields, isObject := v.(object)
	media := objectOf(y.content[contentType])
	switch {
	case (name == formType || name == multipartType) && !isObject:
		return nil, "", invalid("operation %s: its body is a form, so it must be an object, not of type %s", b.id, value.TypeName(v))
	case name == formType:
		return []byte(b.formText(media, fields)), contentType, nil
	case name == multipartType:
		return b.multipart(media, fields)
	case isText && rank(contentType) == 5 && isBinary(name):
		content, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			return nil, "", invalid("operation %s: its body is binary (%s), so it must be text in base64", b.id, name)
		}
		return content, contentType, nil
	case rank(contentType) > 1 && !isText:
		if isObject || value.TypeName(v) == "array" {
			return nil, "", invalid("operation %s: its body is %s, so it must be text, not of type %s", b.id, name, value.TypeName(v))
		}
	}
	content, _, err := outbound.EncodeBody(v, contentType)
	return content, contentType, err
}

// isBinary reports whether a body of the media type is bytes, not text.
func isBinary(name string) bool {
	for _, prefix := range []string{"image/", "audio/", "video/", "font/"} {
		if strings.HasPrefix(name, prefix) {
			return name != "image/svg+xml"
		}
	}
	for _, suffix := range []string{"octet-stream", "pdf", "zip", "gzip", "x-tar", "protobuf", "msgpack", "cbor"} {
		if strings.HasSuffix(name, suffix) {
			return true
		}
	}
	return false
}

// formText is a form, each field by its style.
func (b *builder) formText(media, fields object) string {
	var all []string
	for _, k := range slices.Sorted(maps.Keys(fields)) {
		v := fields[k]
		if v == nil {
			continue
		}
		p := &parameter{name: k, in: "query", style: "form", explode: true}
		if i := slices.IndexFunc(b.form, func(p *parameter) bool { return p.name == k }); i >= 0 {
			form := *b.form[i]
			p, form.in = &form, "query"
			if p.style == "simple" {
				p.style = "form"
			}
		}
		encoding := objectOf(objectOf(media["encoding"])[k])
		if style := stringOf(encoding["style"]); style != "" {
			p.style, p.explode = style, style == "form"
		} else if _, isObject := v.(object); isObject {
			p.json = true // what has no style is JSON (OpenAPI 3.1, 4.8.15)
		}
		if e, ok := encoding["explode"].(bool); ok {
			p.explode = e
		}
		for _, x := range p.pairs(v) {
			all = append(all, x.name+"="+x.text)
		}
	}
	return strings.Join(all, "&")
}

// multipart is a form of parts: text, JSON, and files.
func (b *builder) multipart(media, fields object) ([]byte, string, error) {
	var out bytes.Buffer
	w := multipart.NewWriter(&out)
	for _, k := range slices.Sorted(maps.Keys(fields)) {
		values, list := fields[k].([]any)
		if !list {
			values = []any{fields[k]}
		}
		schema := b.property(media["schema"], k, 0)
		if i := slices.IndexFunc(b.form, func(p *parameter) bool { return p.name == k }); i >= 0 {
			schema = b.form[i].schema
		}
		if items, err := b.follow(schema["items"], "a schema"); list && err == nil && items != nil {
			schema = items
		}
		encoding := objectOf(objectOf(media["encoding"])[k])
		for _, v := range values {
			if v == nil {
				continue
			}
			if err := b.part(w, k, v, schema, stringOf(encoding["contentType"])); err != nil {
				return nil, "", err
			}
		}
	}
	if err := w.Close(); err != nil {
		return nil, "", fmt.Errorf("write the form: %w", err)
	}
	return out.Bytes(), w.FormDataContentType(), nil
}

// part writes one part. A file is text in base64, or an object of content,
// filename and contentType.
func (b *builder) part(w *multipart.Writer, name string, v any, schema object, contentType string) error {
	contentType, _, _ = strings.Cut(contentType, ",") // the first that is allowed
	file := schema["type"] == "file" || schema["format"] == "binary" || isBinary(contentType) ||
		schema["contentMediaType"] != nil && schema["contentEncoding"] == nil
	disposition := map[string]string{"name": name}
	var content []byte
	if file {
		text, ok := v.(string)
		disposition["filename"] = name
		if m, isObject := v.(object); isObject {
			text, ok = m["content"].(string)
			disposition["filename"] = orElse(stringOf(m["filename"]), name)
			contentType = orElse(stringOf(m["contentType"]), contentType)
		}
		var err error
		if content, err = base64.StdEncoding.DecodeString(text); err != nil || !ok {
			return invalid("operation %s: %s is a file, so it must be text in base64, or an object with content (base64), filename and contentType", b.id, name)
		}
		contentType = orElse(contentType, orElse(stringOf(schema["contentMediaType"]), "application/octet-stream"))
	} else {
		switch v.(type) {
		case object, []any:
			content, contentType = value.JSON(v), orElse(contentType, "application/json")
		default:
			content = []byte(executor.Text(v))
		}
	}
	h := textproto.MIMEHeader{}
	h.Set("Content-Disposition", mime.FormatMediaType("form-data", disposition))
	if contentType = strings.TrimSpace(contentType); contentType != "" {
		if strings.ContainsAny(contentType, "\r\n") {
			return invalid("operation %s: the contentType of %s is no media type", b.id, name)
		}
		h.Set("Content-Type", contentType)
	}
	part, err := w.CreatePart(h)
	if err == nil {
		_, err = part.Write(content)
	}
	if err != nil {
		return fmt.Errorf("write the form: %w", err)
	}
	return nil
}

// property finds the schema of a property, also in the parts of a composed one.
func (o *operation) property(v any, name string, depth int) object {
	schema, err := o.follow(v, "a schema")
	if err != nil || schema == nil || depth > 8 {
		return nil
	}
	if p, err := o.follow(objectOf(schema["properties"])[name], "a schema"); err == nil && p != nil {
		return p
	}
	for _, word := range []string{"allOf", "anyOf", "oneOf"} {
		for _, part := range listOf(schema[word]) {
			if p := o.property(part, name, depth+1); p != nil {
				return p
			}
		}
	}
	return nil
}
