package check

import (
	"errors"
	"fmt"

	"github.com/downbeat-dev/downbeat/internal/cron"
	"github.com/downbeat-dev/downbeat/internal/source"
	"github.com/downbeat-dev/downbeat/internal/workflow"
)

// schedule checks what starts runs by itself (DSL 168-174).
func (c *checker) schedule(s *workflow.Schedule) {
	if s == nil {
		return
	}
	if !c.supports("schedule") {
		c.hint(s.Pos, "unsupported/schedule", "DSL 168-174", "the schedule has no effect when the workflow is started by hand", "")
	}
	c.duration(s.Every, workflow.ScheduleSite, nil, "schedule.every")
	c.duration(s.After, workflow.ScheduleSite, nil, "schedule.after")
	if length, ok := s.Every.Literal(); ok && length.IsZero() {
		c.fail(s.Every.Pos, "schedule/every", "DSL 168", "schedule.every is no time at all", "it must be longer than nothing")
	}
	if s.Cron != "" {
		if _, err := cron.Parse(s.Cron); err != nil {
			message, allowed := err.Error(), ""
			if e, ok := errors.AsType[*cron.Error](err); ok {
				message, allowed = e.Message, e.Allowed
			}
			c.fail(s.CronPos, "schedule/cron", "DSL 169", "schedule.cron: "+message, allowed)
		}
	}
	if s.On != nil {
		c.strategy(s.On, workflow.ScheduleSite, nil, nil)
		if s.On.UntilFalse {
			c.fail(s.On.Pos, "schedule/never", "DSL 171", "schedule.on.until is false: events would be collected for ever, and no run starts", "leave until out, and each event starts a run")
		}
	}
}

// scheduleSettings checks metadata.downbeat.schedule.
func (c *checker) scheduleSettings() {
	if c.def.Downbeat == nil || c.def.Downbeat.Schedule == nil {
		return
	}
	s := c.def.Downbeat.Schedule
	if s.Timezone != "" && c.options.Zone != nil && !c.options.Zone(s.Timezone) {
		c.fail(s.Pos, "downbeat/timezone", "D38", fmt.Sprintf("there is no time zone %s", source.Quote(s.Timezone)), "name one of the IANA database, such as Europe/Berlin, or UTC")
	}
	if c.def.Schedule == nil {
		c.warn(s.Pos, "downbeat/schedule", "D38", "metadata.downbeat.schedule stands without a schedule", "a schedule section says when runs start")
	}
}
