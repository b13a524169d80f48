// Command service stands in for a warehouse that speaks gRPC: it serves
// inventory.proto, and describes itself by reflection.
//
//	go run ./examples/grpc-inventory/service [-addr 127.0.0.1:8096] [-flaky 1] [-pause 100ms]
//
// On its shelves are lamps, chairs and vases; the second shelf of the vases is
// empty, whatever the books say.
package main

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"maps"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/bufbuild/protocompile"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/reflection"
	reflectionv1 "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/dynamicpb"
)

//go:embed inventory.proto
var proto string

func main() {
	addr := flag.String("addr", "127.0.0.1:8096", "address to listen on")
	flaky := flag.Int("flaky", 1, "how many checks are refused before the warehouse answers")
	pause := flag.Duration("pause", 100*time.Millisecond, "how long it takes from shelf to shelf")
	flag.Parse()
	log.SetFlags(0)
	if err := serve(*addr, &warehouse{flaky: *flaky, pause: *pause, orders: map[string]*order{}}); err != nil {
		log.Fatal(err)
	}
}

func serve(addr string, w *warehouse) error {
	ctx := context.Background() //nolint:forbidigo // the process itself is the context
	compiler := protocompile.Compiler{Resolver: &protocompile.SourceResolver{Accessor: protocompile.SourceAccessorFromMap(map[string]string{"inventory.proto": proto})}}
	compiled, err := compiler.Compile(ctx, "inventory.proto")
	if err != nil {
		return fmt.Errorf("compile inventory.proto: %w", err)
	}
	files := new(protoregistry.Files)
	if err := files.RegisterFile(compiled[0]); err != nil {
		return fmt.Errorf("register inventory.proto: %w", err)
	}
	s := grpc.NewServer()
	s.RegisterService(w.describe(compiled[0].Services().ByName("Inventory")), w)
	reflectionv1.RegisterServerReflectionServer(s, reflection.NewServerV1(reflection.ServerOptions{Services: s, DescriptorResolver: files}))
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", addr)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	log.Print("listening on " + l.Addr().String())
	return s.Serve(l)
}

// warehouse is what the service remembers.
type warehouse struct {
	mu      sync.Mutex
	flaky   int
	pause   time.Duration
	orders  map[string]*order
	history []string
}

// order is what was taken for an order, and what became of it.
type order struct {
	taken            []message
	packed, released bool
}

// message is one of inventory.proto, for all of them.
type message struct {
	Text      string    `json:"text,omitempty"`
	ID        string    `json:"id,omitempty"`
	Order     string    `json:"order,omitempty"`
	Reason    string    `json:"reason,omitempty"`
	Item      string    `json:"item,omitempty"`
	Shelf     string    `json:"shelf,omitempty"`
	Amount    int       `json:"amount,omitempty"`
	Pieces    int       `json:"pieces,omitempty"`
	Lines     []message `json:"lines,omitempty"`
	Available []message `json:"available,omitempty"`
}

// shelves say where an item is; there is nothing where the amount is negative.
var shelves = map[string][]message{
	"lamp":  {{Shelf: "B7", Amount: 3}, {Shelf: "C1", Amount: 4}},
	"chair": {{Shelf: "A2", Amount: 6}},
	"vase":  {{Shelf: "E1", Amount: 1}, {Shelf: "E2", Amount: -4}},
}

// describe makes the service without generated code: its messages go through JSON.
func (w *warehouse) describe(d protoreflect.ServiceDescriptor) *grpc.ServiceDesc {
	out := &grpc.ServiceDesc{ServiceName: string(d.FullName()), HandlerType: (*any)(nil), Metadata: "inventory.proto"}
	methods := map[string]func(c *call) error{"Check": w.check, "Reserve": w.reserve, "Pack": w.pack, "Release": w.release, "History": w.tell}
	for _, name := range slices.Sorted(maps.Keys(methods)) {
		method := d.Methods().ByName(protoreflect.Name(name))
		out.Streams = append(out.Streams, grpc.StreamDesc{
			StreamName: name, ServerStreams: true, ClientStreams: true,
			Handler: func(_ any, s grpc.ServerStream) error { return methods[name](&call{s, method}) },
		})
	}
	return out
}

// call is one call of a method.
type call struct {
	grpc.ServerStream
	method protoreflect.MethodDescriptor
}

func (c *call) receive() (message, error) {
	in, m := dynamicpb.NewMessage(c.method.Input()), message{}
	if err := c.RecvMsg(in); err != nil {
		return m, err
	}
	b, err := protojson.Marshal(in)
	if err != nil {
		return m, fmt.Errorf("read a message: %w", err)
	}
	return m, json.Unmarshal(b, &m)
}

func (c *call) send(m message) error {
	b, err := json.Marshal(m)
	if err != nil {
		return fmt.Errorf("write a message: %w", err)
	}
	out := dynamicpb.NewMessage(c.method.Output())
	if err := protojson.Unmarshal(b, out); err != nil {
		return fmt.Errorf("write a message: %w", err)
	}
	return c.SendMsg(out)
}

func (w *warehouse) check(c *call) error {
	in, err := c.receive()
	if err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.flaky > 0 {
		w.flaky--
		return status.Error(codes.Unavailable, "lunch break")
	}
	out := message{}
	for _, l := range in.Lines {
		there := 0
		for _, s := range shelves[l.Item] {
			there += max(s.Amount, -s.Amount)
		}
		out.Available = append(out.Available, message{Item: l.Item, Amount: there})
	}
	return c.send(out)
}

// reserve goes from shelf to shelf. A caller who comes again is told of the same shelves.
func (w *warehouse) reserve(c *call) error {
	in, err := c.receive()
	if err != nil {
		return err
	}
	step := 0
	for _, l := range in.Lines {
		for _, s := range shelves[l.Item] {
			if l.Amount == 0 {
				break
			}
			if s.Amount < 0 {
				return status.Errorf(codes.FailedPrecondition, "shelf %s is empty, the books are wrong", s.Shelf)
			}
			m := message{Order: in.Order, Item: l.Item, Shelf: s.Shelf, Amount: min(l.Amount, s.Amount)}
			l.Amount -= m.Amount
			if err := c.send(w.take(m, step)); err != nil {
				return err
			}
			step++
			select {
			case <-time.After(w.pause): //nolint:forbidigo // this is no part of Downbeat
			case <-c.Context().Done():
				return status.FromContextError(c.Context().Err()).Err()
			}
		}
	}
	return nil
}

// take takes from a shelf, unless that was done before.
func (w *warehouse) take(m message, step int) message {
	w.mu.Lock()
	defer w.mu.Unlock()
	o := w.orders[m.Order]
	if o == nil {
		o = &order{}
		w.orders[m.Order] = o
	}
	if step == len(o.taken) {
		o.taken = append(o.taken, m)
		w.history = append(w.history, fmt.Sprintf("%s: took %d %s from %s", m.Order, m.Amount, m.Item, m.Shelf))
	}
	return o.taken[step]
}

func (w *warehouse) pack(c *call) error {
	out := message{}
	for {
		m, err := c.receive()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		out.ID, out.Pieces = "p-"+m.Order, out.Pieces+m.Amount
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	o := w.orders[max(out.ID, "p-")[2:]]
	if o == nil {
		return status.Error(codes.NotFound, "nothing was reserved for this order")
	}
	if !o.packed {
		o.packed = true
		w.history = append(w.history, fmt.Sprintf("%s: packed %d pieces", out.ID[2:], out.Pieces))
	}
	return c.send(out)
}

func (w *warehouse) release(c *call) error {
	in, err := c.receive()
	if err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	out := message{}
	if o := w.orders[in.Order]; o != nil {
		for _, m := range o.taken {
			out.Pieces += m.Amount
		}
		if !o.released {
			o.released = true
			w.history = append(w.history, fmt.Sprintf("%s: put back %d pieces: %s", in.Order, out.Pieces, in.Reason))
		}
	}
	return c.send(out)
}

func (w *warehouse) tell(c *call) error {
	w.mu.Lock()
	history := slices.Clone(w.history)
	w.mu.Unlock()
	for _, text := range history {
		if err := c.send(message{Text: text}); err != nil {
			return err
		}
	}
	return nil
}
