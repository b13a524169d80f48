package event

// Problem is an error of the standard: RFC 9457 problem details (DSL 143-153).
type Problem struct {
	Type     string
	Status   int
	Title    string
	Detail   string
	Instance string         // JSON pointer of the task; "" while not known
	More     map[string]any // extension members: exitCode, stderr, …
}

// TypePrefix is the family of error types that Downbeat emits (D18c).
const TypePrefix = "https://open-workflow-specification.org/spec/1.0.0/errors/"

// The standard error types, to be put behind TypePrefix.
const (
	Configuration  = "configuration"
	Validation     = "validation"
	Expression     = "expression"
	Authentication = "authentication"
	Forbidden      = "authorization"
	Timeout        = "timeout"
	Communication  = "communication"
	Runtime        = "runtime"
)

// Error makes Problem an error: "title: detail".
func (p *Problem) Error() string {
	switch {
	case p.Detail == "":
		return p.Title
	case p.Title == "":
		return p.Detail
	}
	return p.Title + ": " + p.Detail
}
