package outbound_test

import (
	"bufio"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/downbeat-dev/downbeat/internal/outbound"
)

func TestEvents(t *testing.T) {
	text := "\ufeff: a comment\r\ndata: one\r\nid: 7\r\n\r\nevent: named\ndata:two\ndata: lines\n\nretry: 5\n\ndata\n\ndata: cut short"
	var got []outbound.Event
	for e, err := range outbound.Events(strings.NewReader(text), 100) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, e)
	}
	want := []outbound.Event{{ID: "7", Data: []byte("one")}, {Name: "named", ID: "7", Data: []byte("two\nlines")}, {ID: "7"}}
	for i := range want {
		if i < len(got) && len(got[i].Data) == 0 {
			got[i].Data = nil
		}
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	for _, long := range []string{"data: " + strings.Repeat("x", 200), strings.Repeat("data: 0123456789\n", 20)} {
		var last error
		for _, err := range outbound.Events(strings.NewReader(long), 100) {
			last = err
		}
		if !errors.Is(last, bufio.ErrTooLong) {
			t.Errorf("got %v; want that it is too long", last)
		}
	}
}
