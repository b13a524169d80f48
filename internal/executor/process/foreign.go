package process

import (
	"encoding/base64"
	"encoding/binary"
	"strings"
	"unicode/utf16"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/executor"
)

// longestLine is how many characters a command line of Windows may have.
const longestLine = 32767

// windows makes it a command of one of the shells of Windows, D28.
func (p *program) windows(shell, command string, args []string) error {
	names := []string{"powershell.exe", "pwsh.exe"}
	if shell == "cmd" {
		names = []string{"cmd.exe"}
	}
	path, ok := find(p.environment, names...)
	if !ok {
		return executor.NewProblem(event.Runtime, 500, "Command failed", "there is no %s on the PATH of this machine; metadata.downbeat.shell of the document asks for it", names[0])
	}
	p.path = path
	var err error
	if shell == "cmd" {
		p.argv = []string{names[0]}
		p.line, err = cmdLine(command, args)
	} else {
		p.argv, err = powershellCommand(command, args), nil
		p.argv[0] = names[0]
	}
	if n := max(len(p.line), len(strings.Join(p.argv, " "))); err == nil && n > longestLine {
		err = badArguments("command and arguments make a command line of %d characters; Windows takes %d: put the commands into a file", n, longestLine)
	}
	return err
}

// cmdLine is the command line by which cmd carries out a command. It has no
// positional parameters, so the arguments stand behind the command; what cmd
// would read inside quotes is refused, as there is no way to write it.
func cmdLine(command string, args []string) (string, error) {
	if strings.ContainsAny(command, "\r\n") {
		return "", badArguments("command has several lines, of which cmd would carry out the first; join them with &&, or write metadata.downbeat.shell: powershell")
	}
	for _, a := range args {
		if strings.ContainsAny(a, "\"%\r\n") {
			return "", badArguments("arguments: cmd cannot take %q, as it reads quotes, %% and line breaks in it; pass it by environment, or write metadata.downbeat.shell: powershell", a)
		}
		command += ` "` + a + `"`
	}
	// With /s the outer quotes go and the rest stays as it is; /d runs nothing else before; /v:off leaves ! alone.
	return `cmd.exe /d /v:off /s /c "` + command + `"`, nil
}

// powershellCommand is the argv by which PowerShell carries out a command: the
// arguments are in $args. It is handed over encoded, so nothing reads it before.
func powershellCommand(command string, args []string) []string {
	var b strings.Builder
	b.WriteString("$ProgressPreference = 'SilentlyContinue'\n& {\n" + command + "\n}")
	for _, a := range args {
		b.WriteString(" " + powershellQuote(a))
	}
	// Alone, PowerShell says 1 for every program that failed.
	b.WriteString("\n$ok = $?\nif ($LASTEXITCODE) { exit $LASTEXITCODE }\nif (-not $ok) { exit 1 }\n")
	var bytes []byte
	for _, u := range utf16.Encode([]rune(b.String())) {
		bytes = binary.LittleEndian.AppendUint16(bytes, u)
	}
	return []string{"powershell.exe", "-NoLogo", "-NoProfile", "-NonInteractive", "-OutputFormat", "Text", "-EncodedCommand", base64.StdEncoding.EncodeToString(bytes)}
}

// powershellQuote writes text that PowerShell reads as it is. It takes the
// typographic quotes for quotes too.
func powershellQuote(s string) string {
	var b strings.Builder
	b.WriteByte('\'')
	for _, r := range s {
		if strings.ContainsRune("'\u2018\u2019\u201a\u201b", r) {
			b.WriteRune(r)
		}
		b.WriteRune(r)
	}
	b.WriteByte('\'')
	return b.String()
}
