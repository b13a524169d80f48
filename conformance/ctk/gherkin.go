// Package ctk runs the conformance kit of the Open Workflow Specification
// against the real engine. Its tests are all there is; this file reads the part
// of Gherkin that the kit's features are written in.
package ctk

import (
	"fmt"
	"strings"
)

// Feature is one feature file.
type Feature struct {
	Name      string
	Scenarios []Scenario
}

// Scenario is one scenario with its steps.
type Scenario struct {
	Name  string
	Line  int
	Steps []Step
}

// Step is one step, without its keyword.
type Step struct {
	Line int
	Text string
	Doc  string // the text between """ marks, with the mark's indentation taken away
}

// Parse reads a feature file.
func Parse(src string) (*Feature, error) {
	f := &Feature{}
	lines := strings.Split(strings.ReplaceAll(src, "\r\n", "\n"), "\n")
	for i := 0; i < len(lines); i++ {
		line := strings.TrimSpace(lines[i])
		switch {
		case line == "" || strings.HasPrefix(line, "#"):
		case strings.HasPrefix(line, "Feature:"):
			f.Name = strings.TrimSpace(strings.TrimPrefix(line, "Feature:"))
		case strings.HasPrefix(line, "Scenario:"):
			f.Scenarios = append(f.Scenarios, Scenario{Name: strings.TrimSpace(strings.TrimPrefix(line, "Scenario:")), Line: i + 1})
		case strings.HasPrefix(line, `"""`):
			doc, next, err := docString(lines, i)
			if err != nil {
				return nil, err
			}
			step := lastStep(f)
			if step == nil {
				return nil, fmt.Errorf("line %d: a text block without a step", i+1)
			}
			step.Doc, i = doc, next
		default:
			text, isStep := cutKeyword(line)
			if len(f.Scenarios) == 0 {
				continue // the description of the feature
			}
			if !isStep {
				return nil, fmt.Errorf("line %d: %q is no step", i+1, line)
			}
			s := &f.Scenarios[len(f.Scenarios)-1]
			s.Steps = append(s.Steps, Step{Line: i + 1, Text: text})
		}
	}
	if f.Name == "" || len(f.Scenarios) == 0 {
		return nil, fmt.Errorf("no feature with scenarios")
	}
	return f, nil
}

func lastStep(f *Feature) *Step {
	if len(f.Scenarios) == 0 {
		return nil
	}
	s := &f.Scenarios[len(f.Scenarios)-1]
	if len(s.Steps) == 0 {
		return nil
	}
	return &s.Steps[len(s.Steps)-1]
}

func cutKeyword(line string) (string, bool) {
	for _, k := range []string{"Given ", "When ", "Then ", "And ", "But "} {
		if rest, ok := strings.CutPrefix(line, k); ok {
			return strings.TrimSpace(rest), true
		}
	}
	return line, false
}

// docString reads the block that begins at line i and returns the line of its end.
func docString(lines []string, i int) (string, int, error) {
	indent := lines[i][:strings.Index(lines[i], `"""`)]
	var out []string
	for k := i + 1; k < len(lines); k++ {
		if strings.HasPrefix(strings.TrimSpace(lines[k]), `"""`) {
			return strings.Join(out, "\n") + "\n", k, nil
		}
		out = append(out, strings.TrimPrefix(lines[k], indent))
	}
	return "", 0, fmt.Errorf("line %d: the text block does not end", i+1)
}
