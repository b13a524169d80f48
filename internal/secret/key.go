package secret

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
)

// Key is the key of a data directory. It does not print.
type Key struct{ bytes [keySize]byte }

const keySize = 32

// String hides the key.
func (Key) String() string { return "key(hidden)" }

// GoString hides the key.
func (Key) GoString() string { return "key(hidden)" }

// OpenKey reads the file "key" of a data directory, and makes it when it is
// not there. Only the user that Downbeat runs as may read it. Several processes
// may open the key of one directory at once; all get the same.
func OpenKey(dir string) (Key, error) {
	path := filepath.Join(dir, "key")
	k, err := readKey(path)
	if errors.Is(err, fs.ErrNotExist) {
		if err = makeKey(dir, path); err == nil || errors.Is(err, fs.ErrExist) {
			k, err = readKey(path)
		}
	}
	if err != nil {
		return Key{}, fmt.Errorf("open the key of the data directory: %w", err)
	}
	return k, nil
}

func readKey(path string) (Key, error) {
	info, err := os.Stat(path)
	if err != nil {
		return Key{}, err
	}
	if runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0 {
		return Key{}, fmt.Errorf("%s can be read by other users of this machine: chmod 600 %s", path, path)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return Key{}, err
	}
	var k Key
	if n, err := hex.Decode(k.bytes[:], text[:min(len(text), 2*keySize)]); err != nil || n != keySize {
		return Key{}, fmt.Errorf("%s holds no key: want %d hexadecimal digits; restore it from a backup, without it sealed runs cannot be read", path, 2*keySize)
	}
	return k, nil
}

// makeKey writes a new key beside its place and links it there, so that the
// file is whole whenever it is there, and never replaces another.
func makeKey(dir, path string) error {
	var k [keySize]byte
	if _, err := rand.Read(k[:]); err != nil {
		return fmt.Errorf("make a key: %w", err)
	}
	f, err := os.CreateTemp(dir, "key-*") // 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) //nolint:errcheck // only its second name is kept
	_, err = fmt.Fprintf(f, "%x\n", k)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Link(f.Name(), path); err != nil {
		return err
	}
	return syncDirectory(dir)
}

func syncDirectory(dir string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Sealer encrypts what is written of runs that use secrets: AES-256-GCM with a
// key of its own for each run, derived from the data directory's. It may be
// used by several goroutines.
type Sealer struct{ key Key }

// NewSealer makes a Sealer.
func NewSealer(key Key) *Sealer { return &Sealer{key} }

// ErrSealed says that sealed bytes cannot be opened: they were changed, belong
// to another run, or were sealed with another key.
var ErrSealed = errors.New("sealed bytes cannot be opened: they were changed, or sealed for another run or with another key")

const sealVersion = 1

// Seal appends the sealed plaintext to dst. The associated data (the id of the
// run) is not part of it and must be given to Open again.
func (s *Sealer) Seal(dst, plaintext, associated []byte) []byte {
	aead := s.aead(associated)
	begin := len(dst)
	dst = append(dst, make([]byte, 1+aead.NonceSize())...)
	dst[begin] = sealVersion
	nonce := dst[begin+1:]
	if _, err := rand.Read(nonce); err != nil {
		panic("secret: crypto/rand fails: " + err.Error()) // it never returns an error (Go 1.24)
	}
	return aead.Seal(dst, nonce, plaintext, associated)
}

// Open appends the plaintext to dst; an error that is ErrSealed when it cannot.
func (s *Sealer) Open(dst, sealed, associated []byte) ([]byte, error) {
	aead := s.aead(associated)
	if len(sealed) < 1+aead.NonceSize() || sealed[0] != sealVersion {
		return nil, fmt.Errorf("open %d bytes: %w", len(sealed), ErrSealed)
	}
	nonce, text := sealed[1:1+aead.NonceSize()], sealed[1+aead.NonceSize():]
	out, err := aead.Open(dst, nonce, text, associated)
	if err != nil {
		return nil, fmt.Errorf("open %d bytes: %w", len(sealed), ErrSealed)
	}
	return out, nil
}

func (s *Sealer) aead(associated []byte) cipher.AEAD {
	derived, err := hkdf.Key(sha256.New, s.key.bytes[:], nil, "downbeat journal 1\x00"+string(associated), keySize)
	if err != nil {
		panic("secret: derive a key: " + err.Error()) // only for lengths that are none of ours
	}
	block, err := aes.NewCipher(derived)
	if err != nil {
		panic("secret: " + err.Error()) // only for other lengths
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		panic("secret: " + err.Error()) // only for other block sizes
	}
	return aead
}
