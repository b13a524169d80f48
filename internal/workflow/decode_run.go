package workflow

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/downbeat-dev/downbeat/internal/source"
)

var (
	environment = may("environment", orOurExpr(mapOf(scalarText)))
	runShapes   = map[RunKind]shape{
		RunContainer: object(false, need("image", someText), may("name", text), may("command", text), may("ports", orOurExpr(mapOf(anything))),
			may("volumes", orOurExpr(mapOf(anything))), environment, may("stdin", text), may("arguments", orOurExpr(listOf(scalarText))),
			may("lifetime", lifetime), may("pullPolicy", oneOfWords("ifNotPresent", "always", "never"))),
		RunScript: all(object(false, need("language", text), may("code", text), may("source", resourceShape), may("stdin", text),
			may("arguments", arguments), environment), one("code", "source")),
		RunShell:    object(false, need("command", someText), may("stdin", text), may("arguments", arguments), environment),
		RunWorkflow: object(false, need("namespace", label), need("name", label), may("version", childVersion), may("input", childInput)),
	}
	runDSL = map[RunKind]string{RunContainer: "DSL 133", RunScript: "DSL 137", RunShell: "DSL 139", RunWorkflow: "DSL 141"}
)

// arguments is a list, or the map of the time before 1.0.3 (DSL 140, D28).
func arguments(d *decoder, n *source.Node, a at) {
	if n.Kind == MapValue {
		d.report(Finding{Pos: n.Pos, Severity: SeverityWarning, Rule: "run/arguments-map", DSL: "DSL 140, D28", Message: a.what + " is a map", Allowed: "a list is right since 1.0.3; of a map, each `k: v` gives --k=v, and a null value gives --k"})
		mapOf(func(d *decoder, n *source.Node, a at) {
			if n.Kind != ScalarValue {
				d.wrong(n, a, "text")
			}
		})(d, n, a)
		return
	}
	orOurExpr(listOf(scalarText))(d, n, a)
}

// lifetime says when a container is removed (DSL 134).
func lifetime(d *decoder, n *source.Node, a at) {
	a.dsl = "DSL 134"
	object(false, need("cleanup", oneOfWords("always", "never", "eventually")), may("after", durationShape))(d, n, a)
	if c := n.Field("cleanup"); c != nil {
		switch after := n.Field("after") != nil; {
		case after && c.Scalar != "eventually":
			d.invalid(n, a, "lifetime", a.what+" has after, and its cleanup is not eventually", "after stands exactly with cleanup: eventually")
		case !after && c.Scalar == "eventually":
			d.missing(n, a, "after")
		}
	}
}

// childVersion is a semantic version or latest (DSL 141, D25).
func childVersion(d *decoder, n *source.Node, a at) {
	if n.Scalar != "latest" {
		semver(d, n, a)
	}
}

func childInput(d *decoder, n *source.Node, a at) {
	if n.Kind == MapValue {
		return
	}
	if t, ok := n.Scalar.(string); ok && source.IsWrapped(t) {
		d.report(Finding{Pos: n.Pos, Severity: SeverityHint, Rule: "portable/workflow-input", DSL: "DSL 141", Message: a.what + " is an expression", Allowed: "other runtimes want a map"})
		return
	}
	d.wrong(n, a, "a map, or an expression in ${ }")
}

func (d *decoder) run(t *Task, n *source.Node) {
	a := at{"run", "run", "DSL 130"}
	r := &Run{Pos: n.Pos, Await: true, Return: "stdout"}
	t.Run = r
	if !d.properties(n, a, false, append([]string{"await", "return"}, runNames[1:]...)) {
		return
	}
	r.Await = d.flag(n.Field("await"), at{"run", "run.await", "DSL 131"}, true)
	if x := n.Field("return"); x != nil {
		r.Return = d.str(x, at{"run", "run.return", "DSL 132"}, oneOfWords("stdout", "stderr", "code", "all", "none"))
	}
	kind := d.exactlyOne(n, a, runNames[1:]...)
	for k, name := range runNames {
		if name == kind {
			r.Kind = RunKind(k)
		}
	}
	if r.Kind == NoRun {
		return
	}
	with := n.Field(kind)
	a = at{"run", "run." + kind, runDSL[r.Kind]}
	runShapes[r.Kind](d, with, a)
	r.With = toValue(with)
	switch r.Kind {
	case RunScript:
		if s := with.Field("source"); s != nil {
			quiet := decoder{use: d.use}
			r.Source = quiet.resource(s, a)
		}
		d.language(with.Field("language"))
	case RunWorkflow:
		get := func(key, otherwise string) string {
			if s, ok := r.With.Field(key).text(); ok {
				return s
			}
			return otherwise
		}
		r.Workflow = &ChildRef{Pos: with.Pos, Namespace: get("namespace", ""), Name: get("name", ""), Version: get("version", "latest"), Input: valueOf(with.Field("input"))}
	case NoRun, RunContainer, RunShell:
	}
}

func (v *Value) text() (string, bool) {
	if v == nil {
		return "", false
	}
	s, ok := v.Scalar.(string)
	return s, ok
}

// language names the script languages of the specification, in the words of
// both of its generations (DSL 137).
func (d *decoder) language(n *source.Node) {
	if n == nil {
		return
	}
	t, ok := n.Scalar.(string)
	known := []string{"js", "javascript", "python"}
	if !ok || slices.Contains(known, strings.ToLower(t)) {
		return
	}
	d.report(Finding{Pos: n.Pos, Severity: SeverityUnsupported, Rule: "run/script-language", DSL: "DSL 137", Message: fmt.Sprintf("scripts in %s cannot be run", source.Quote(t)), Allowed: "js (or javascript) and python are known", Suggestion: source.Nearest(t, known)})
}

// literalDuration is a duration of Downbeat's own settings, where no run is at hand.
func (d *decoder) literalDuration(n *source.Node, a at) time.Duration {
	if n == nil {
		return 0
	}
	if s, ok := n.Scalar.(string); ok && source.IsDynamic(s) {
		d.wrong(n, a, "a duration such as PT15M; an expression has nothing to read here")
		return 0
	}
	dur := d.duration(n, a)
	if dur == nil {
		return 0
	}
	length, ok := dur.Literal()
	if ok && length.Std() <= 0 {
		d.invalid(n, a, "duration", a.what+" is no time at all", "it must be longer than nothing")
	}
	return length.Std()
}
