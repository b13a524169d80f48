package event

import (
	"encoding/hex"
	"fmt"
)

// RunID is the id of a run: a UUID, version 7 for runs that people or triggers
// start (so ids sort by time), version 8 for children (derived from the
// parent's command).
type RunID [16]byte

// String is the usual 36 characters.
func (id RunID) String() string {
	var b [36]byte
	hex.Encode(b[0:8], id[0:4])
	hex.Encode(b[9:13], id[4:6])
	hex.Encode(b[14:18], id[6:8])
	hex.Encode(b[19:23], id[8:10])
	hex.Encode(b[24:36], id[10:16])
	b[8], b[13], b[18], b[23] = '-', '-', '-', '-'
	return string(b[:])
}

// IsZero reports the id of no run.
func (id RunID) IsZero() bool { return id == RunID{} }

// ParseRunID reads what String writes.
func ParseRunID(s string) (RunID, error) {
	var id RunID
	if len(s) != 36 || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' {
		return id, fmt.Errorf("run id %q: want 36 characters like 01890a5d-ac96-774b-bcce-b302099a8057", s)
	}
	plain := s[0:8] + s[9:13] + s[14:18] + s[19:23] + s[24:36]
	if _, err := hex.Decode(id[:], []byte(plain)); err != nil {
		return id, fmt.Errorf("run id %q: %w", s, err)
	}
	return id, nil
}
