package process

import (
	"maps"
	"slices"
	"strings"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/executor"
)

// shellArguments is the section of `run: shell` with what stands beside it.
type shellArguments struct {
	Command     string         `json:"command" required:"true" doc:"The command line, for sh -c; on Windows for the shell that metadata.downbeat.shell names."`
	Stdin       any            `json:"stdin" doc:"What the command reads from its standard input; anything but a string is written as JSON."`
	Arguments   any            `json:"arguments" doc:"Positional parameters: a list; or a map of options, where --k: v becomes --k=v. They are appended to a single simple command that does not use them itself."`
	Environment map[string]any `json:"environment" doc:"Environment variables."`
	Return      string         `json:"return" enum:"stdout|stderr|code|all|none" default:"stdout" doc:"What the output of the task is."`
	Await       bool           `json:"await" default:"true" doc:"Whether the task waits for the command."`
	Shell       string         `json:"shell" enum:"cmd|powershell" doc:"The shell on Windows, from metadata.downbeat.shell of the document; elsewhere it is sh."`
}

// scriptArguments is the section of `run: script` with what stands beside it.
type scriptArguments struct {
	Language    string         `json:"language" required:"true" enum:"js|javascript|python" doc:"The language of the script."`
	Code        string         `json:"code" doc:"The script itself."`
	Source      any            `json:"source" doc:"The file that holds the script, instead of code."`
	Stdin       any            `json:"stdin" doc:"What the script reads from its standard input; anything but a string is written as JSON."`
	Arguments   any            `json:"arguments" doc:"Arguments: a list; or a map of options, where --k: v becomes --k=v."`
	Environment map[string]any `json:"environment" doc:"Environment variables."`
	Return      string         `json:"return" enum:"stdout|stderr|code|all|none" default:"stdout" doc:"What the output of the task is."`
	Await       bool           `json:"await" default:"true" doc:"Whether the task waits for the script."`
}

// Words makes a list of arguments of what the author wrote, D28: a list as it
// is, a map by its sorted keys. The error is an *event.Problem.
func Words(arguments any) ([]string, error) {
	var list []string
	switch a := arguments.(type) {
	case nil:
	case []any:
		for _, v := range a {
			list = append(list, executor.Text(v))
		}
	case map[string]any:
		for _, k := range slices.Sorted(maps.Keys(a)) {
			if a[k] != nil {
				k += "=" + executor.Text(a[k])
			}
			list = append(list, k)
		}
	default:
		return nil, badArguments("arguments must be a list, or a map of options")
	}
	if slices.ContainsFunc(list, hasZero) {
		return nil, badArguments("arguments: a program cannot take an argument with a zero byte in it")
	}
	return list, nil
}

func badArguments(format string, args ...any) *event.Problem {
	return executor.NewProblem(event.Configuration, 400, "Invalid arguments", format, args...)
}

// input is what the program reads; nil for nothing.
func input(v any) *string {
	if v == nil {
		return nil
	}
	s := executor.Text(v)
	return &s
}

func orStdout(result string) string {
	if result == "" {
		return "stdout"
	}
	return result
}

func hasZero(s string) bool { return strings.IndexByte(s, 0) >= 0 }

func isVariable(name string) bool { return name != "" && !strings.ContainsAny(name, "=\x00") }

// passed are the variables that a program needs to find its way on the
// machine. All others stay with Downbeat: its secrets are among them.
var passed = map[string]bool{
	"PATH": true, "HOME": true, "USER": true, "LOGNAME": true, "SHELL": true, "LANG": true, "LANGUAGE": true, "TZ": true,
	"TMPDIR": true, "TEMP": true, "TMP": true, "TERM": true, "XDG_RUNTIME_DIR": true, "SSH_AUTH_SOCK": true,
	"HTTP_PROXY": true, "HTTPS_PROXY": true, "NO_PROXY": true, "http_proxy": true, "https_proxy": true, "no_proxy": true,
	"SSL_CERT_FILE": true, "SSL_CERT_DIR": true,
	"SystemRoot": true, "SYSTEMROOT": true, "SystemDrive": true, "COMSPEC": true, "ComSpec": true, "PATHEXT": true, "Path": true,
	"USERPROFILE": true, "APPDATA": true, "LOCALAPPDATA": true, "ProgramData": true, "ProgramFiles": true, "WINDIR": true, "windir": true,
}

func inherited(environment, more []string) map[string]string {
	m := map[string]string{"PATH": "/usr/local/bin:/usr/bin:/bin"}
	for _, kv := range environment {
		name, v, ok := strings.Cut(kv, "=")
		if ok && name != "" && (passed[name] || strings.HasPrefix(name, "LC_") || slices.Contains(more, name)) {
			m[name] = v
		}
	}
	return m
}
