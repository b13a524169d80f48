package state

import (
	"crypto/sha256"
	"encoding/hex"
	"math/bits"
	"strconv"
	"time"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/value"
)

// Mix is one round of a rolling hash: a 128-bit product, folded.
func Mix(h, x uint64) uint64 {
	hi, lo := bits.Mul64(h^0xa0761d6478bd642f, x^0xe7037ed1a0b428db)
	return hi ^ lo ^ h<<1
}

// MixString mixes a text into a rolling hash.
func MixString[S ~string](h uint64, s S) uint64 {
	h = Mix(h, uint64(len(s)))
	for len(s) >= 8 {
		h = Mix(h, uint64(s[0])|uint64(s[1])<<8|uint64(s[2])<<16|uint64(s[3])<<24|uint64(s[4])<<32|uint64(s[5])<<40|uint64(s[6])<<48|uint64(s[7])<<56)
		s = s[8:]
	}
	if len(s) > 0 {
		x := uint64(len(s))
		for i := range len(s) {
			x = x<<8 | uint64(s[i])
		}
		h = Mix(h, x)
	}
	return h
}

// MixRaw mixes a value into a rolling hash.
func MixRaw(h uint64, r *value.Raw) uint64 {
	if r.IsZero() {
		return Mix(h, 0)
	}
	v, err := r.Any()
	if err != nil {
		return MixString(h, err.Error())
	}
	return value.Hash(h, v)
}

// MixTime mixes a time into a rolling hash.
func MixTime(h uint64, t time.Time) uint64 { return Mix(h, uint64(t.UnixMicro())) }

// MixProblem mixes an error into a rolling hash: not its words, which may
// become better with any release.
func MixProblem(h uint64, p *event.Problem) uint64 {
	if p == nil {
		return Mix(h, 0)
	}
	h = Mix(h, uint64(p.Status))
	h = MixString(h, p.Type)
	return MixString(h, p.Instance)
}

// Sum is a hash of a command's id: all that looks random comes from it.
func (r *Run) Sum(purpose string, a event.Activation, attempt int) [32]byte {
	var room [128]byte
	b := append(room[:0], r.ID[:]...)
	b = append(b, purpose...)
	b = append(b, 0)
	b = append(b, a...)
	b = append(b, 0)
	b = strconv.AppendInt(b, int64(attempt), 10)
	return sha256.Sum256(b)
}

// DerivedID is a UUID of version 8 from a command's id.
func (r *Run) DerivedID(purpose string, a event.Activation, attempt int) event.RunID {
	s := r.Sum(purpose, a, attempt)
	var id event.RunID
	copy(id[:], s[:16])
	id[6] = id[6]&0x0f | 0x80
	id[8] = id[8]&0x3f | 0x80
	return id
}

// IdempotencyKey is the same for every attempt of an activation.
func (r *Run) IdempotencyKey(a event.Activation) string {
	var room [96]byte
	b := append(room[:0], r.ID[:]...)
	b = append(b, a...)
	s := sha256.Sum256(b)
	return hex.EncodeToString(s[:16])
}
