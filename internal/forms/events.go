package forms

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"io"
	"maps"
	"os"
	"time"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/value"
)

// Events reads cloud events from files: an object, an array, or JSON lines.
func Events(stdin io.Reader, files []string, now time.Time) ([]map[string]any, error) {
	var out []map[string]any
	for _, file := range files {
		var src []byte
		var err error
		if file == "-" {
			src, err = io.ReadAll(stdin)
		} else {
			src, err = os.ReadFile(file)
		}
		if err != nil {
			return nil, usage("", "read the events: %w", err)
		}
		list, err := splitEvents(src)
		if err != nil {
			return nil, usage("", "the events in %s cannot be read: %w", file, err)
		}
		for i, v := range list {
			e, err := cloudEvent(v, now)
			if err != nil {
				return nil, usage("an event is an object such as {\"type\": \"com.example.paid.v1\", \"source\": \"/shop\", \"data\": {}}", "event %d in %s: %w", i+1, file, err)
			}
			out = append(out, e)
		}
	}
	return out, nil
}

// splitEvents reads one event, an array of them, or one on each line.
func splitEvents(src []byte) ([]any, error) {
	v, err := Data(src)
	if err == nil {
		if list, ok := v.([]any); ok {
			return list, nil
		}
		return []any{v}, nil
	}
	var list []any
	for line := range bytes.Lines(src) {
		if len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		v, lineErr := value.Decode(line)
		if lineErr != nil {
			return nil, err // it is no JSON lines either: the first mistake tells more
		}
		list = append(list, v)
	}
	return list, nil
}

// cloudEvent checks the shape of an event and fills in what may be missing.
func cloudEvent(v any, now time.Time) (map[string]any, error) {
	m, ok := v.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("want an object, found %s", value.TypeName(v))
	}
	full := map[string]any{
		"specversion": "1.0", "id": newID(), "source": "https://downbeat.dev/cli", "time": now.Format(time.RFC3339Nano),
	}
	maps.Copy(full, m)
	for _, k := range []string{"type", "source", "id", "specversion"} {
		if s, ok := full[k].(string); !ok || s == "" {
			return nil, fmt.Errorf("its %q must be a string that is not empty", k)
		}
	}
	return full, nil
}

// newID is a random UUID, version 4.
func newID() string {
	var id event.RunID
	_, _ = rand.Read(id[:])
	id[6], id[8] = id[6]&0x0f|0x40, id[8]&0x3f|0x80
	return id.String()
}
