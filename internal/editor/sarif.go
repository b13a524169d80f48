package editor

import (
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/downbeat-dev/downbeat/internal/workflow"
)

// Checked is one file with what was found in it.
type Checked struct {
	File     string // relative or absolute, with / between its parts
	Source   []byte
	Findings []workflow.Finding
}

// SARIF writes findings as a log of SARIF 2.1.0, which build servers and editors
// show at their places. version is that of Downbeat.
func SARIF(version string, checked []Checked) map[string]any {
	l := &sarifLog{index: map[string]int{}}
	results := []any{}
	for _, c := range checked {
		uri := fileURI(c.File)
		l.artifacts = append(l.artifacts, map[string]any{"location": map[string]any{"uri": uri}, "sourceLanguage": "yaml", "encoding": "utf-8"})
		lines := strings.Split(string(c.Source), "\n")
		for _, f := range c.Findings {
			if f.File != "" { // an attached document, whose text is not at hand
				results = append(results, l.result(fileURI(f.File), nil, f))
				continue
			}
			results = append(results, l.result(uri, lines, f))
		}
	}
	rules := l.rules
	if rules == nil {
		rules = []any{}
	}
	return map[string]any{
		"$schema": "https://json.schemastore.org/sarif-2.1.0.json",
		"version": "2.1.0",
		"runs": []any{map[string]any{
			"tool": map[string]any{"driver": map[string]any{
				"name": "downbeat", "version": version, "informationUri": "https://github.com/downbeat-dev/downbeat", "rules": rules,
			}},
			"columnKind":  "unicodeCodePoints",
			"invocations": []any{map[string]any{"executionSuccessful": true}},
			"artifacts":   l.artifacts,
			"results":     results,
		}},
	}
}

// sarifLog collects the rules that results refer to.
type sarifLog struct {
	rules     []any
	index     map[string]int
	artifacts []any
}

func (l *sarifLog) result(uri string, lines []string, f workflow.Finding) map[string]any {
	place := map[string]any{"artifactLocation": map[string]any{"uri": uri}}
	region := regionOf(lines, f)
	if region != nil {
		place["region"] = region
	}
	location := map[string]any{"physicalLocation": place}
	if f.Reference != "" {
		location["logicalLocations"] = []any{map[string]any{"fullyQualifiedName": f.Reference, "kind": "element"}}
	}
	text := f.Message
	if f.Suggestion != "" {
		text += fmt.Sprintf("; did you mean %q?", f.Suggestion)
	}
	if f.Allowed != "" {
		text += "; " + f.Allowed
	}
	properties := map[string]any{"severity": f.Severity.String()}
	if f.DSL != "" {
		properties["dsl"] = f.DSL
	}
	out := map[string]any{
		"ruleId": f.Rule, "ruleIndex": l.rule(f), "level": level(f.Severity), "message": map[string]any{"text": text},
		"locations": []any{location}, "properties": properties,
	}
	if fix := fixOf(uri, lines, f, region); fix != nil {
		out["fixes"] = []any{fix}
	}
	return out
}

// rule is the place of a finding's rule in the list, where it is put at its first use.
func (l *sarifLog) rule(f workflow.Finding) int {
	if i, ok := l.index[f.Rule]; ok {
		return i
	}
	section, what, _ := strings.Cut(f.Rule, "/")
	short := section + ": " + strings.ReplaceAll(what, "-", " ")
	full := short
	if f.DSL != "" {
		full += " (" + f.DSL + ")"
	}
	l.index[f.Rule] = len(l.rules)
	l.rules = append(l.rules, map[string]any{
		"id": f.Rule, "shortDescription": map[string]any{"text": short}, "fullDescription": map[string]any{"text": full},
		"help":                 map[string]any{"text": full + ". DSL numbers are lines of the language's checklist, D numbers decisions of Downbeat."},
		"defaultConfiguration": map[string]any{"level": level(f.Severity)},
	})
	return l.index[f.Rule]
}

// level is a severity in the words of SARIF.
func level(s workflow.Severity) string {
	switch s {
	case workflow.SeverityError:
		return "error"
	case workflow.SeverityUnsupported, workflow.SeverityWarning:
		return "warning"
	case workflow.SeverityHint:
		return "note"
	}
	return "none"
}

// regionOf is the place of a finding: a word when its end is known, else from
// its beginning to the end of the line.
func regionOf(lines []string, f workflow.Finding) map[string]any {
	if f.Pos.IsValid() && f.File != "" {
		return map[string]any{"startLine": f.Pos.Line, "startColumn": max(f.Pos.Col, 1)}
	}
	if !f.Pos.IsValid() || f.Pos.Line > len(lines) {
		return nil
	}
	r := map[string]any{"startLine": f.Pos.Line}
	length := utf8.RuneCountInString(strings.TrimRight(lines[f.Pos.Line-1], "\r"))
	if f.Pos.Col < 1 || f.Pos.Col > length+1 {
		return r
	}
	r["startColumn"] = f.Pos.Col
	switch {
	case f.EndCol > f.Pos.Col:
		r["endColumn"] = min(f.EndCol, length+1)
	case length >= f.Pos.Col:
		r["endColumn"] = length + 1
	}
	return r
}

var plainWord = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_-]*$`)

// fixOf replaces a mistyped name by the one that was probably meant, where
// exactly that name stands in the text.
func fixOf(uri string, lines []string, f workflow.Finding, region map[string]any) map[string]any {
	end, _ := region["endColumn"].(int)
	if f.Suggestion == "" || f.EndCol == 0 || end != f.EndCol || !plainWord.MatchString(f.Suggestion) {
		return nil
	}
	word := string([]rune(lines[f.Pos.Line-1])[f.Pos.Col-1 : end-1])
	if !plainWord.MatchString(word) || !strings.Contains(f.Message, word) {
		return nil
	}
	return map[string]any{
		"description": map[string]any{"text": fmt.Sprintf("write %s", f.Suggestion)},
		"artifactChanges": []any{map[string]any{
			"artifactLocation": map[string]any{"uri": uri},
			"replacements":     []any{map[string]any{"deletedRegion": region, "insertedContent": map[string]any{"text": f.Suggestion}}},
		}},
	}
}

// fileURI is a path as a URI: relative ones stay so.
func fileURI(file string) string {
	u := url.URL{Path: file}
	switch {
	case strings.Contains(file, "://"): // an attached document
		return file
	case strings.HasPrefix(file, "/"):
		u.Scheme = "file"
	case len(file) > 2 && file[1] == ':' && file[2] == '/':
		u.Scheme, u.Path = "file", "/"+file
	}
	return u.String()
}

// Shown keeps the findings of the given severities.
func Shown(fs []workflow.Finding, severities ...workflow.Severity) []workflow.Finding {
	var out []workflow.Finding
	for _, f := range fs {
		if slices.Contains(severities, f.Severity) {
			out = append(out, f)
		}
	}
	return out
}
