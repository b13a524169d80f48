package sqlite

import (
	"context"
	"encoding/hex"
	"fmt"
	"strings"
	"sync"

	"github.com/klauspost/compress/zstd"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/journal"
)

// How a payload is packed.
const (
	plain = iota
	zstandard
)

// packed is a payload as it is stored.
type packed struct {
	digest []byte
	how    int64
	data   []byte
	run    event.RunID
	err    error
}

// packer compresses payloads. Its machinery is made when the first one comes,
// because most stores never see one and it takes memory.
type packer struct {
	once    sync.Once
	encoder *zstd.Encoder
	decoder *zstd.Decoder
	err     error
}

// maxPayload bounds what unpacking can allocate: the largest value is 16 MiB.
const maxPayload = 64 << 20

func (p *packer) start() error {
	p.once.Do(func() {
		if p.encoder, p.err = zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(1<<20), zstd.WithLowerEncoderMem(true)); p.err == nil {
			p.decoder, p.err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(0), zstd.WithDecoderMaxMemory(maxPayload), zstd.WithDecoderLowmem(true))
		}
	})
	return p.err
}

func (p *packer) pack(ps []journal.Payload) []packed {
	if len(ps) == 0 {
		return nil
	}
	out := make([]packed, len(ps))
	err := p.start()
	for i := range ps {
		o := &out[i]
		o.run, o.err = ps[i].Run, err
		if o.digest, o.err = digestBytes(ps[i].Digest); o.err != nil || err != nil {
			continue
		}
		o.data = p.encoder.EncodeAll(ps[i].Data, nil)
		o.how = zstandard
		if len(o.data) >= len(ps[i].Data)*9/10 {
			o.how, o.data = plain, ps[i].Data
		}
	}
	return out
}

func digestBytes(digest string) ([]byte, error) {
	hexed, ok := strings.CutPrefix(digest, "sha256:")
	b, err := hex.DecodeString(hexed)
	if !ok || err != nil || len(b) != 32 {
		return nil, fmt.Errorf("digest %q: want sha256: and 64 hexadecimal digits", digest)
	}
	return b, nil
}

func (s *Store) payload(p *packed) error {
	if p.err != nil {
		return fmt.Errorf("store payload: %w", p.err)
	}
	return s.w.query(nil, "insert into payloads(digest,packed,data) values(?,?,?) on conflict do nothing", p.digest, p.how, p.data)
}

func (s *Store) payloadRef(p *packed) error {
	run := int64(0) // of nobody: kept for ever
	if !p.run.IsZero() {
		l, err := s.own(p.run)
		if err != nil {
			return fmt.Errorf("payload of run %s: %w", p.run, err)
		}
		run = l.id
	}
	return s.w.query(nil, "insert into payload_refs(run,digest) values(?,?) on conflict do nothing", run, p.digest)
}

// Payload implements journal.Store.
func (s *Store) Payload(ctx context.Context, digest string) (data []byte, err error) {
	b, err := digestBytes(digest)
	if err != nil {
		return nil, err
	}
	found, how := false, int64(0)
	err = s.read(ctx, func(c *conn) error {
		return c.query(func(st stmt) error {
			found, how, data = true, st.ColumnInt64(0), st.blob(1)
			return nil
		}, "select packed, data from payloads where digest=?", b)
	})
	if err == nil && !found {
		err = journal.ErrNotFound
	}
	if err == nil && how == zstandard {
		if err = s.packer.start(); err == nil {
			data, err = s.packer.decoder.DecodeAll(data, nil)
		}
	}
	if err == nil && event.Digest(data) != digest {
		err = fmt.Errorf("%w: its content has the digest %s; %s is damaged: restore the last backup", journal.ErrCorrupt, event.Digest(data), s.file)
	}
	if err != nil {
		return nil, fmt.Errorf("payload %s: %w", digest, err)
	}
	return data, nil
}
