package expr

import "github.com/itchyny/gojq"

func rewrite(q *gojq.Query) *gojq.Query {
	w := walk{leaveTerm: func(t *gojq.Term, bound *names) {
		if t.Func != nil && t.Func.Name == "now" && len(t.Func.Args) == 0 && !bound.has("now/0") {
			t.Func = &gojq.Func{Name: NowVariable}
		}
	}}
	w.query(q, nil)
	return q
}
