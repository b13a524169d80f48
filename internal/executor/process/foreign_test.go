package process

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/google/go-cmp/cmp"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/executor"
	"github.com/downbeat-dev/downbeat/internal/executor/executortest"
)

// decoded is what PowerShell is asked to carry out.
func decoded(t *testing.T, argv []string) string {
	t.Helper()
	b, err := base64.StdEncoding.DecodeString(argv[len(argv)-1])
	if err != nil {
		t.Fatal(err)
	}
	units := make([]uint16, len(b)/2)
	for i := range units {
		units[i] = binary.LittleEndian.Uint16(b[2*i:])
	}
	return string(utf16.Decode(units))
}

// D28: PowerShell gets the arguments as they are, whatever they hold.
func TestPowershellCommand(t *testing.T) {
	t.Parallel()
	argv := powershellCommand("Write-Output $args[0]", []string{"plain", "it's", "a ‘b’; exit", "$x `n", "é😀", "-Verbose"})
	if d := cmp.Diff([]string{"powershell.exe", "-NoLogo", "-NoProfile", "-NonInteractive", "-OutputFormat", "Text", "-EncodedCommand"}, argv[:7]); d != "" {
		t.Error(d)
	}
	want := `$ProgressPreference = 'SilentlyContinue'
& {
Write-Output $args[0]
} 'plain' 'it''s' 'a ‘‘b’’; exit' '$x ` + "`" + `n' 'é😀' '-Verbose'
$ok = $?
if ($LASTEXITCODE) { exit $LASTEXITCODE }
if (-not $ok) { exit 1 }
`
	if d := cmp.Diff(want, decoded(t, argv)); d != "" {
		t.Error(d)
	}
}

// D28: cmd gets the command as it is, with the arguments behind it in quotes.
func TestCmdLine(t *testing.T) {
	t.Parallel()
	got, err := cmdLine(`echo "a & b" && ver`, []string{"one", "two & three", "!x!"})
	if d := cmp.Diff(`cmd.exe /d /v:off /s /c "echo "a & b" && ver "one" "two & three" "!x!""`, got); d != "" || err != nil {
		t.Error(d, err)
	}
	for _, bad := range []string{`a" & del x`, "%PATH%", "a\nb", "a\rb"} {
		if _, err := cmdLine("echo", []string{bad}); err == nil || !strings.Contains(err.Error(), "cmd cannot take") {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if _, err := cmdLine("echo\nver", nil); err == nil || !strings.Contains(err.Error(), "several lines") {
		t.Errorf("lines: %v", err)
	}
}

// D28: on Windows the document's setting chooses the shell; elsewhere it is sh.
func TestShellOfWindows(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("SKIPPED on Windows: the shells are made up here")
	}
	dir := t.TempDir()
	for name, script := range map[string]string{"powershell.exe": "#!/bin/sh\necho \"$7\"; exit 3\n", "cmd.exe": "#!/bin/sh\necho cmd\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(script), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	run := func(system, path string, arguments map[string]any) (any, *event.Problem) {
		t.Helper()
		r, log := executortest.Request(t, "shell", arguments)
		got, err := New(Config{Environment: []string{"PATH=" + path}, System: system}).Execute(t.Context(), r)
		log.Close()
		p, problem := errors.AsType[*event.Problem](err)
		if err != nil && !problem {
			t.Fatal(err)
		}
		return got.Output, p
	}
	both := dir + ":/usr/bin:/bin"
	got, p := run("windows", both, map[string]any{"command": "Get-Date", "shell": "powershell", "arguments": []any{"x"}, "return": "all"})
	all, _ := got.(map[string]any)
	if p != nil || all["code"] != 3 || !strings.Contains(decoded(t, []string{executor.Text(all["stdout"])}), "& {\nGet-Date\n} 'x'\n") {
		t.Errorf("powershell: %v, %v", got, p)
	}
	if got, p := run("windows", both, map[string]any{"command": "ver", "shell": "cmd"}); got != "cmd" || p != nil {
		t.Errorf("cmd: %v, %v", got, p)
	}
	for _, system := range []string{"", "windows"} { // an sh on the PATH is one on Windows too
		if got, p := run(system, both, map[string]any{"command": "echo sh"}); got != "sh" || p != nil {
			t.Errorf("%q: %v, %v", system, got, p)
		}
	}
	if got, p := run("", both, map[string]any{"command": "echo sh", "shell": "powershell"}); got != "sh" || p != nil {
		t.Errorf("elsewhere: %v, %v", got, p)
	}
	refuses := func(want string, arguments map[string]any) {
		t.Helper()
		if _, p := run("windows", "/nowhere", arguments); p == nil || !strings.Contains(p.Detail, want) {
			t.Errorf("got %v, want %q", p, want)
		}
	}
	refuses("there is no powershell.exe on the PATH", map[string]any{"command": "x", "shell": "powershell"})
	refuses("there is no cmd.exe on the PATH", map[string]any{"command": "x", "shell": "cmd"})
	if _, p := run("windows", both, map[string]any{"command": strings.Repeat("x", 40_000), "shell": "powershell"}); p == nil || !strings.Contains(p.Detail, "Windows takes 32767") {
		t.Errorf("long: %v", p)
	}
	if p := New(Config{System: "windows"}).noShell(); !strings.Contains(p.Detail, "metadata.downbeat.shell: powershell") {
		t.Error(p.Detail)
	}
}
