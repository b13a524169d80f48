package lifecycle_test

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/downbeat-dev/downbeat/internal/lifecycle"
)

type recorder struct {
	name  string
	log   *[]string
	start error
}

func (r *recorder) Start(context.Context) error {
	*r.log = append(*r.log, "start "+r.name)
	return r.start
}

func (r *recorder) Stop(context.Context) error {
	*r.log = append(*r.log, "stop "+r.name)
	return nil
}

func TestGroupStartsInOrderAndStopsInReverse(t *testing.T) {
	t.Parallel()
	var log []string
	var g lifecycle.Group
	g.Add("a", &recorder{name: "a", log: &log})
	g.Add("b", &recorder{name: "b", log: &log})
	for range 2 {
		if err := g.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		if err := g.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if d := cmp.Diff([]string{"start a", "start b", "stop b", "stop a"}, log); d != "" {
		t.Error(d)
	}
}

func TestGroupStopsWhatItStartedWhenAMemberFails(t *testing.T) {
	t.Parallel()
	var log []string
	var g lifecycle.Group
	g.Add("a", &recorder{name: "a", log: &log})
	g.Add("b", &recorder{name: "b", log: &log, start: errors.New("no port")})
	err := g.Start(t.Context())
	if err == nil || !strings.Contains(err.Error(), "start b: no port") {
		t.Errorf("got %v", err)
	}
	if d := cmp.Diff([]string{"start a", "start b", "stop a"}, log); d != "" {
		t.Error(d)
	}
}

func TestClockFollowsTheBubble(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var c lifecycle.Clock
		before := c.Now()
		if err := c.Sleep(t.Context(), 90*time.Minute); err != nil {
			t.Fatal(err)
		}
		if got := c.Now().Sub(before); got != 90*time.Minute {
			t.Errorf("slept %v", got)
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(lifecycle.ErrStopping)
		if err := c.Sleep(ctx, time.Hour); !errors.Is(err, lifecycle.ErrStopping) {
			t.Errorf("got %v", err)
		}
		c.Shift = func() time.Duration { return -time.Hour }
		if !c.Now().Before(before.Add(time.Hour)) {
			t.Error("a shifted clock did not move")
		}
	})
}

// Few or many, timers are found by their ids, and stopped ones are let go.
func TestTimersOfAnOwner(t *testing.T) {
	t.Parallel()
	for _, n := range []int{3, 200} {
		var among lifecycle.Alarms[lifecycle.Named[string]]
		var a, b lifecycle.Timers[string]
		at := time.Unix(0, 0)
		for i := range n {
			a.Start(&among, "a", strconv.Itoa(i), at.Add(time.Hour))
			b.Start(&among, "b", strconv.Itoa(i), at.Add(time.Duration(i)))
			a.Start(&among, "a", strconv.Itoa(i), at.Add(time.Duration(i))) // replaces
		}
		for i := range n - 1 {
			b.Stop(&among, strconv.Itoa(i))
			b.Stop(&among, "none")
		}
		var got []string
		for next := among.Next(); next != nil; next = among.Next() {
			got = append(got, next.What.Owner)
			if next.What.Owner == "a" {
				a.Stop(&among, next.What.ID)
				continue
			}
			b.StopAll(&among)
		}
		want := append(slices.Repeat([]string{"a"}, n-1), "b", "a")
		if !slices.Equal(got, want) {
			t.Errorf("%d: %q", n, got)
		}
	}
}
