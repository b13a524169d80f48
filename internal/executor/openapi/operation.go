package openapi

import (
	"maps"
	"net/http"
	"slices"
	"strings"
)

// operation is one operation with what the call of it needs.
type operation struct {
	*document
	id, method, path string
	node, item       object // of the operation, and of its path
	parameters       []*parameter
	form             []*parameter // of Swagger: in formData
	body             *body        // nil: none
}

// operation finds the operation by its id.
func (d *document) operation(id string) (*operation, error) {
	paths, err := d.follow(d.root["paths"], "paths")
	if err != nil {
		return nil, err
	}
	var found []*operation
	var known []string
	for _, path := range slices.Sorted(maps.Keys(paths)) {
		item, err := d.follow(paths[path], "the path "+path)
		if err != nil {
			continue // it matters only if the operation is not found
		}
		for _, method := range methods {
			node := objectOf(item[strings.ToLower(method)])
			name := stringOf(node["operationId"])
			if name != "" {
				known = append(known, name)
			}
			if name == id {
				found = append(found, &operation{document: d, id: id, method: method, path: path, node: node, item: item})
			}
		}
	}
	switch len(found) {
	case 0:
		return nil, invalid("the document %s has no operation %q; %s", d.where, id, nearest(id, known))
	case 1:
		return found[0], found[0].read()
	}
	return nil, invalid("the document %s has the operation %q twice: %s %s and %s %s", d.where, id,
		found[0].method, found[0].path, found[1].method, found[1].path)
}

// nearest says which name was meant, or what names there are.
func nearest(id string, known []string) string {
	best, least := "", len(id)/3+2
	for _, k := range known {
		if n := distance(strings.ToLower(id), strings.ToLower(k)); n < least {
			best, least = k, n
		}
	}
	switch {
	case best != "":
		return "did you mean " + best + "?"
	case len(known) == 0:
		return "none of its operations has an operationId"
	case len(known) > 10:
		return "it has " + strings.Join(known[:10], ", ") + " and more"
	}
	return "it has " + strings.Join(known, ", ")
}

// distance is how many letters must change to make b of a.
func distance(a, b string) int {
	if len(a) > 200 || len(b) > 200 {
		return 200
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, diagonal+1)
		}
	}
	return row[len(b)]
}

// read reads parameters and body.
func (o *operation) read() error {
	// Those of the operation stand before those of its path.
	seen := map[string]bool{}
	for _, list := range []any{o.node["parameters"], o.item["parameters"]} {
		for _, v := range listOf(list) {
			m, err := o.follow(v, "a parameter of "+o.id)
			if err != nil {
				return err
			}
			p := o.parameter(m)
			key := p.in + " " + p.name
			if p.name == "" || seen[key] {
				continue
			}
			seen[key] = true
			if p.in == "" { // somebody forgot
				p = o.parameter(with(m, "in", map[bool]string{true: "path", false: "query"}[strings.Contains(o.path, "{"+p.name+"}")]))
			}
			switch p.in {
			case "body":
				o.body = &body{name: p.name, required: p.required, types: o.consumes(), content: object{}, schema: p.schema}
			case "formdata":
				o.form = append(o.form, p)
			default:
				o.parameters = append(o.parameters, p)
			}
		}
	}
	if len(o.form) > 0 {
		o.body = o.formBody()
		return nil
	}
	if o.body != nil {
		return nil
	}
	m, err := o.follow(o.node["requestBody"], "the body of "+o.id)
	if err != nil || m == nil {
		return err
	}
	content := objectOf(m["content"])
	o.body = &body{required: boolOf(m["required"]), content: content, types: slices.Sorted(maps.Keys(content))}
	return nil
}

// with is m with another value under key.
func with(m object, key string, v any) object {
	m = maps.Clone(m)
	m[key] = v
	return m
}

// consumes lists what media types bodies may have, in Swagger.
func (o *operation) consumes() []string {
	types := stringsOf(o.node["consumes"])
	if len(types) == 0 {
		types = stringsOf(o.root["consumes"])
	}
	return types
}

// accept makes the header Accept of what media types the responses have.
func (o *operation) accept() string {
	types := map[string]bool{}
	for _, r := range objectOf(o.node["responses"]) {
		if m, err := o.follow(r, "a response"); err == nil {
			for name := range objectOf(m["content"]) {
				types[name] = true
			}
		}
	}
	produces := stringsOf(o.node["produces"])
	if len(produces) == 0 {
		produces = stringsOf(o.root["produces"])
	}
	for _, name := range produces {
		types[name] = true
	}
	var accept []string
	for _, name := range slices.Sorted(maps.Keys(types)) {
		if strings.Contains(name, "/") && !strings.ContainsAny(name, "\r\n") {
			accept = append(accept, name)
		}
	}
	// What can be decoded best comes first.
	slices.SortStableFunc(accept, func(a, b string) int { return rank(a) - rank(b) })
	return strings.Join(append(accept, "*/*;q=0.1"), ", ")
}

// apiKeys are the parameters by which a client of the operation may show a
// key: they are declared as security, not as parameters.
func (o *operation) apiKeys() []*parameter {
	schemes := objectOf(objectOf(o.root["components"])["securitySchemes"])
	if o.swagger {
		schemes = objectOf(o.root["securityDefinitions"])
	}
	security, own := o.node["security"]
	if !own {
		security = o.root["security"]
	}
	var keys []*parameter
	for _, alternative := range listOf(security) {
		for _, name := range slices.Sorted(maps.Keys(objectOf(alternative))) {
			m, err := o.follow(schemes[name], "the security scheme "+name)
			if err == nil && strings.EqualFold(stringOf(m["type"]), "apiKey") {
				if p := o.parameter(object{"name": m["name"], "in": m["in"]}); p.name != "" && p.in != "path" {
					keys = append(keys, p)
				}
			}
		}
	}
	return keys
}

// hasBody reports whether requests of the method usually have a body.
func hasBody(method string) bool {
	return method != http.MethodGet && method != http.MethodHead && method != http.MethodTrace
}
