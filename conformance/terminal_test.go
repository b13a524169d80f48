//go:build linux

package conformance_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"charm.land/lipgloss/v2"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// A real terminal session at three widths: what stands on the screen while a
// loop of 300 is under way, while branches race and a retry waits, and at the
// end is what the golden screens say, with times and identities taken out.
func TestTerminalSession(t *testing.T) {
	t.Parallel()
	for _, width := range []int{60, 100, 160} {
		t.Run(fmt.Sprint(width), func(t *testing.T) {
			t.Parallel()
			s := open(t, width, 50, "TERM=xterm-256color", "NO_COLOR=")
			s.look("loop", width)
			s.touch("first")
			s.look("race", width)
			s.touch("second")
			s.end(1)
			s.look("end", width)
			s.clean()
			if text := string(s.bytes()); strings.Contains(text, "downbeat runs retry ") != s.has("runs", "retry") {
				t.Errorf("the command that retries the run is not named, or does not exist:\n%s", text)
			}
		})
	}
}

// A terminal that is made narrower and wider again shows the same as one that
// had the width from the start.
func TestTerminalIsResized(t *testing.T) {
	t.Parallel()
	if environ("UPDATE_SCREENS") != "" {
		t.Skip("SKIPPED: the screens that it compares with are rewritten")
	}
	s := open(t, 160, 50, "TERM=xterm-256color", "NO_COLOR=1")
	s.look("loop", 160)
	s.resize(60, 50)
	s.look("loop", 60)
	s.resize(100, 50)
	s.touch("first")
	s.look("race", 100)
	s.touch("second")
	s.end(1)
	s.look("end", 100)
	if sgr := regexp.MustCompile("\x1b\\[[0-9;]*m").Find(s.bytes()); sgr != nil {
		t.Errorf("colour in spite of NO_COLOR: %q", sgr)
	}
}

// On a low screen the tree is cut to it; what failed stays in sight.
func TestTerminalIsLow(t *testing.T) {
	t.Parallel()
	s := open(t, 100, 8, "TERM=xterm-256color", "NO_COLOR=")
	s.look("low", 100)
	s.clean()
}

// A terminal that cannot redraw gets plain lines without a single escape.
func TestDumbTerminal(t *testing.T) {
	t.Parallel()
	s := open(t, 100, 50, "TERM=dumb", "NO_COLOR=")
	s.touch("first")
	s.touch("second")
	s.end(1)
	text := string(s.bytes())
	if strings.Contains(text, "\x1b") {
		t.Errorf("escapes: %q", text)
	}
	for _, want := range []string{"check[7] faulted", "berlin/build | compiling", "東京の配備サーバー cancelled", "charge | no money left", "run faulted"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in\n%s", want, text)
		}
	}
}

// session is a run of downbeat on a terminal of its own.
type session struct {
	t      *testing.T
	dir    string
	master *os.File
	cmd    *exec.Cmd
	read   chan struct{} // closed when the terminal is

	mu     sync.Mutex
	screen *screen
	raw    bytes.Buffer
	change chan struct{} // closed and made anew with each piece that was read
}

func open(t *testing.T, width, height int, env ...string) *session {
	t.Helper()
	s := &session{t: t, dir: t.TempDir(), read: make(chan struct{}), screen: &screen{width: width, height: height}, change: make(chan struct{})}
	master, slave, err := pty()
	if err != nil {
		t.Skipf("SKIPPED: no pseudo terminal: %v", err)
	}
	s.master = master
	s.size(width, height)
	definition, err := os.ReadFile(filepath.Join(root, "conformance", "terminal", "everything.yaml"))
	if err == nil {
		err = os.WriteFile(filepath.Join(s.dir, "everything.yaml"), definition, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	s.cmd = exec.CommandContext(t.Context(), filepath.Join(bin, "downbeat"), "run", "everything.yaml", "--data", "data")
	s.cmd.Dir, s.cmd.Stderr = s.dir, slave
	s.cmd.Env = append(os.Environ(), env...)
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = slave.Close()
	go s.follow()
	t.Cleanup(func() {
		if s.cmd.ProcessState == nil {
			s.touch("first")
			s.touch("second")
			s.touch("never")
			_ = s.cmd.Wait()
		}
		_ = master.Close()
		<-s.read
	})
	return s
}

// pty opens a pair of a pseudo terminal.
func pty() (master, slave *os.File, err error) {
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("open /dev/ptmx: %w", err)
	}
	master = os.NewFile(uintptr(fd), "/dev/ptmx")
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		return nil, nil, errors.Join(fmt.Errorf("unlock: %w", err), master.Close())
	}
	n, err := unix.IoctlGetUint32(fd, unix.TIOCGPTN)
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("ask for the number: %w", err), master.Close())
	}
	slave, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, nil, errors.Join(err, master.Close())
	}
	return master, slave, nil
}

func (s *session) size(width, height int) {
	raw, err := s.master.SyscallConn()
	if err == nil {
		err = errors.Join(err, raw.Control(func(fd uintptr) {
			err = unix.IoctlSetWinsize(int(fd), unix.TIOCSWINSZ, &unix.Winsize{Col: uint16(width), Row: uint16(height)})
		}))
	}
	if err != nil {
		s.t.Fatal(err)
	}
}

// resize changes the terminal under the running program.
func (s *session) resize(width, height int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.screen.resize(width, height)
	s.size(width, height)
}

func (s *session) follow() {
	defer close(s.read)
	buf := make([]byte, 64<<10)
	for {
		n, err := s.master.Read(buf)
		s.mu.Lock()
		s.raw.Write(buf[:n])
		s.screen.feed(buf[:n])
		close(s.change)
		s.change = make(chan struct{})
		s.mu.Unlock()
		if err != nil {
			return // EIO: the program has ended
		}
	}
}

func (s *session) bytes() []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return bytes.Clone(s.raw.Bytes())
}

func (s *session) touch(name string) {
	if err := os.WriteFile(filepath.Join(s.dir, name), nil, 0o600); err != nil {
		s.t.Error(err)
	}
}

// has reports that downbeat has a command.
func (s *session) has(path ...string) bool {
	out, err := exec.CommandContext(s.t.Context(), filepath.Join(bin, "downbeat"), append(path, "--help")...).Output()
	return err == nil && bytes.Contains(out, []byte("downbeat "+strings.Join(path, " ")+" "))
}

// end waits for the program.
func (s *session) end(code int) {
	s.t.Helper()
	err := s.cmd.Wait()
	if exit := (*exec.ExitError)(nil); !errors.As(err, &exit) || exit.ExitCode() != code {
		s.t.Errorf("ended with %v", err)
	}
	<-s.read
}

// look waits until the screen is the golden one. UPDATE_SCREENS=1 rewrites it
// with what stands on the screen after some seconds.
func (s *session) look(name string, width int) {
	s.t.Helper()
	file := filepath.Join(root, "conformance", "terminal", fmt.Sprintf("%s-%d.txt", name, width))
	golden, err := os.ReadFile(file)
	if err != nil && environ("UPDATE_SCREENS") == "" {
		s.t.Fatal(err)
	}
	patience := time.After(60 * time.Second)
	if environ("UPDATE_SCREENS") != "" {
		patience = time.After(4 * time.Second)
	}
	for {
		s.mu.Lock()
		got, change := still(s.screen.text()), s.change
		s.mu.Unlock()
		if got == string(golden) && environ("UPDATE_SCREENS") == "" {
			return
		}
		select {
		case <-change:
			continue
		case <-s.read:
			s.mu.Lock()
			got = still(s.screen.text())
			s.mu.Unlock()
		case <-patience:
		}
		if environ("UPDATE_SCREENS") != "" {
			if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
				s.t.Fatal(err)
			}
			return
		}
		if d := cmp.Diff(string(golden), got); d != "" {
			s.t.Fatalf("%s at %d columns:\n%s", name, width, d)
		}
		return
	}
}

// clean checks what a whole session keeps: each frame is shown at once, none
// blanks a line first or is wider than the terminal, and the cursor comes back.
func (s *session) clean() {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	text := s.raw.String()
	if on, off := strings.Count(text, "\x1b[?2026h"), strings.Count(text, "\x1b[?2026l"); on == 0 || off > on || on > off+1 {
		s.t.Errorf("frames: %d begun, %d ended", on, off)
	}
	if strings.Contains(text, "\x1b[2K") || strings.Contains(text, "\x1b[2J") {
		s.t.Error("a line or the screen is blanked")
	}
	if s.screen.wrapped > 0 {
		s.t.Errorf("%d lines of frames are wider than the terminal", s.screen.wrapped)
	}
	if len(s.screen.unknown) > 0 {
		s.t.Errorf("sequences the terminal does not know: %q", s.screen.unknown)
	}
	if s.cmd.ProcessState != nil && s.screen.hidden {
		s.t.Error("the cursor stays hidden")
	}
}

var (
	identity = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|[0-9a-f]{8}-[0-9a-f-]*…?`)
	took     = regexp.MustCompile(` +(\d+ms|\d+\.\ds|\d+m\d\ds|\d+h\d\dm)`)
	spinning = regexp.MustCompile(`[⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏]`)
	again    = regexp.MustCompile(`(?m)^  \S*retry\S* +downbeat runs retry .*\n?`)
	slowest  = regexp.MustCompile(`slowest \[\d+\]`)
)

// still takes times and identities out of a screen, and the command that retries,
// which is looked for by itself. A time in a column keeps its
// place, so that the alignment of columns is compared.
func still(text string) string {
	text = identity.ReplaceAllString(text, "RUN")
	text = again.ReplaceAllString(text, "")
	text = slowest.ReplaceAllString(text, "slowest [N]")
	text = spinning.ReplaceAllString(text, "⠋")
	return took.ReplaceAllStringFunc(text, func(s string) string {
		if len(s) < 8 {
			return " T"
		}
		return strings.Repeat(" ", len(s)-1) + "T"
	})
}

// screen is a terminal: as much of one as the live tree needs.
type screen struct {
	width, height int
	rows          [][]rune // with what has left the screen at the top; 0 follows a wide character
	x, y          int
	frame, hidden bool
	wrapped       int // lines of frames that did not fit
	unknown       []string
	rest          []byte // of a sequence or character that is not complete
}

var csi = regexp.MustCompile("^\x1b\\[([?0-9;]*)([A-Za-z])")

func (s *screen) feed(b []byte) {
	b = append(s.rest, b...)
	for len(b) > 0 {
		if b[0] == 0x1b {
			m := csi.FindSubmatch(b)
			if m == nil {
				break // the rest comes with the next piece
			}
			s.control(string(m[1]), m[2][0])
			b = b[len(m[0]):]
			continue
		}
		r, n := decode(b)
		if n == 0 {
			break
		}
		s.put(r)
		b = b[n:]
	}
	s.rest = bytes.Clone(b)
}

// decode returns the first character; 0 bytes when it is not complete.
func decode(b []byte) (r rune, n int) {
	for i, c := range string(b[:min(4, len(b))]) {
		if i > 0 {
			return r, i
		}
		r, n = c, len(string(c))
	}
	if r == '\ufffd' && len(b) < 4 {
		return 0, 0
	}
	return r, n
}

func (s *screen) row(y int) *[]rune {
	for len(s.rows) <= y {
		s.rows = append(s.rows, nil)
	}
	return &s.rows[y]
}

func (s *screen) put(r rune) {
	switch r {
	case '\r':
		s.x = 0
		return
	case '\n':
		s.y++
		s.row(s.y)
		return
	}
	w := lipgloss.Width(string(r))
	if s.x+w > s.width {
		if s.frame { // what is printed after the tree may be long: it is there to be copied
			s.wrapped++
			s.x, s.y = 0, s.y+1
		}
	}
	row := s.row(s.y)
	for len(*row) < s.x+w {
		*row = append(*row, ' ')
	}
	(*row)[s.x] = r
	if w == 2 {
		(*row)[s.x+1] = 0
	}
	s.x += w
}

func (s *screen) control(arg string, final byte) {
	switch string(final) {
	case "m": // colours
	case "A":
		n := 1
		_, _ = fmt.Sscan(arg, &n)
		s.y = max(s.y-n, len(s.rows)-s.height, 0)
	case "K":
		row := s.row(s.y)
		*row = (*row)[:min(s.x, len(*row))]
	case "J":
		row := s.row(s.y)
		*row = (*row)[:min(s.x, len(*row))]
		clear(s.rows[s.y+1:])
	case "h", "l":
		switch arg {
		case "?25":
			s.hidden = final == 'l'
		case "?2026":
			s.frame = final == 'h'
		default:
			s.unknown = append(s.unknown, arg+string(final))
		}
	default:
		s.unknown = append(s.unknown, arg+string(final))
	}
}

// resize breaks rows that are too long, as most terminals do.
func (s *screen) resize(width, height int) {
	var rows [][]rune
	y := s.y
	for i, r := range s.rows {
		if i == s.y {
			y = len(rows)
		}
		for len(r) > width {
			rows, r = append(rows, r[:width:width]), r[width:]
		}
		rows = append(rows, r)
	}
	s.rows, s.y, s.width, s.height = rows, y, width, height
}

// text is what is seen on the screen.
func (s *screen) text() string {
	var b strings.Builder
	for _, r := range s.rows[max(0, len(s.rows)-s.height):] {
		b.WriteString(strings.TrimRight(strings.ReplaceAll(string(r), "\x00", ""), " ") + "\n")
	}
	return strings.TrimRight(b.String(), "\n") + "\n"
}
