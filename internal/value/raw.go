package value

// Raw is a JSON value that is held as bytes, as a decoded value, or as both:
// it is decoded when somebody first looks into it and encoded when it is first
// written. A value that only passes through is never decoded. The zero Raw is
// no value at all, which differs from null.
//
// A Raw fills itself in as it is used, so one that several goroutines share
// must be copied (it is small) or have been asked for both forms before.
type Raw struct {
	v    any
	b    []byte
	kind rawKind
}

type rawKind uint8

const (
	rawDecoded rawKind = 1 << iota // v is set
	rawEncoded                     // b is set
)

// FromAny returns v as a Raw. Nobody may change v afterwards.
func FromAny(v any) Raw { return Raw{v: v, kind: rawDecoded} }

// FromJSON returns the JSON text b as a Raw, without a copy and unchecked:
// [Raw.Any] finds out whether it is JSON. Nobody may change b afterwards.
func FromJSON(b []byte) Raw { return Raw{b: b, kind: rawEncoded} }

// IsZero reports whether there is no value at all.
func (r Raw) IsZero() bool { return r.kind == 0 }

// Any returns the value, decoded on first use; null when there is none.
func (r *Raw) Any() (any, error) {
	if r.kind&rawDecoded != 0 || r.kind == 0 {
		return r.v, nil
	}
	v, err := Decode(r.b)
	if err != nil {
		return nil, err
	}
	r.v = v
	r.kind |= rawDecoded
	return v, nil
}

// JSON returns the value's JSON, encoded on first use; "null" when there is
// none. Bytes given to [FromJSON] come back as they were.
func (r *Raw) JSON() []byte {
	if r.kind == 0 {
		return []byte("null")
	}
	if r.kind&rawEncoded == 0 {
		r.b = Append(make([]byte, 0, Size(r.v)), r.v)
		r.kind |= rawEncoded
	}
	return r.b
}

// Size returns about how many bytes the value's JSON has.
func (r *Raw) Size() int {
	switch {
	case r.kind&rawEncoded != 0:
		return len(r.b)
	case r.kind == 0:
		return 0
	}
	return Size(r.v)
}

// MarshalJSON implements json.Marshaler.
func (r Raw) MarshalJSON() ([]byte, error) { return r.JSON(), nil }

// UnmarshalJSON implements json.Unmarshaler; it copies b.
func (r *Raw) UnmarshalJSON(b []byte) error {
	*r = FromJSON(append([]byte(nil), b...))
	return nil
}
