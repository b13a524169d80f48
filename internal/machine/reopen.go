package machine

import (
	"errors"

	"github.com/downbeat-dev/downbeat/internal/event"
)

func (m *Machine) reopen(*event.RunReopened) error {
	return errors.New("machine: this release does not reopen runs")
}

func (m *Machine) fork(*event.RunForked) error {
	return errors.New("machine: this release does not fork runs")
}
