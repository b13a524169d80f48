package grpc

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	reflection "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/downbeat-dev/downbeat/internal/event"
	"github.com/downbeat-dev/downbeat/internal/executor"
)

// reflectionMethods are the same protocol under its two names, the newer first.
var reflectionMethods = []string{
	"/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
	"/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
}

// describe asks the server for the description of a service; fresh when it was
// asked just now.
func (c *connection) describe(ctx context.Context, md metadata.MD, service string) (t types, fresh bool, err error) {
	c.mu.Lock()
	t, ok := c.described[service]
	c.mu.Unlock()
	if ok {
		return t, false, nil
	}
	for _, method := range reflectionMethods {
		if t, err = c.ask(ctx, md, method, service); status.Code(err) != codes.Unimplemented {
			break
		}
	}
	if status.Code(err) == codes.Unimplemented {
		return t, true, invalid("the server has no reflection; /proto/endpoint must say where the proto document of %q is", service)
	}
	if err != nil {
		return t, true, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.described) >= maxDocuments {
		clear(c.described)
	}
	c.described[service] = t
	return t, true, nil
}

// forget drops a description that does not fit any more.
func (c *connection) forget(service string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.described, service)
}

// questions is one conversation with a server about itself.
type questions struct {
	stream grpc.ClientStream
	files  map[string]*descriptorpb.FileDescriptorProto
	size   int
}

func (c *connection) ask(ctx context.Context, md metadata.MD, method, service string) (types, error) {
	ctx, cancel := context.WithCancel(metadata.NewOutgoingContext(ctx, md))
	defer cancel()
	stream, err := c.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, method)
	if err != nil {
		return types{}, err
	}
	q := &questions{stream: stream, files: map[string]*descriptorpb.FileDescriptorProto{}}
	name, err := q.fullName(service)
	if err != nil {
		return types{}, err
	}
	if err := q.fetch(&reflection.ServerReflectionRequest{MessageRequest: &reflection.ServerReflectionRequest_FileContainingSymbol{FileContainingSymbol: name}}, name); err != nil {
		if p, ok := errors.AsType[*event.Problem](err); !ok || p.Type != event.TypePrefix+event.Configuration {
			return types{}, err
		}
		if known, listErr := q.services(); listErr == nil && !slices.Contains(known, name) {
			return types{}, invalid("the server has no service %q; it has [%s]", name, head(strings.Join(known, ", ")))
		}
		return types{}, err
	}
	for missing := q.missing(); missing != ""; missing = q.missing() {
		if len(q.files) >= maxImports {
			return types{}, tooMuch("more than %d files", maxImports)
		}
		if err := q.fetch(&reflection.ServerReflectionRequest{MessageRequest: &reflection.ServerReflectionRequest_FileByFilename{FileByFilename: missing}}, missing); err != nil {
			return types{}, err
		}
		if q.files[missing] == nil {
			return types{}, tooMuch("other files than %s, which it was asked for", missing)
		}
	}
	set := &descriptorpb.FileDescriptorSet{}
	for _, f := range q.files {
		set.File = append(set.File, f)
	}
	files, err := protodesc.FileOptions{AllowUnresolvable: true}.NewFiles(set)
	if err != nil {
		return types{}, tooMuch("what cannot be understood: %v", err)
	}
	return newTypes(files), nil
}

func tooMuch(format string, args ...any) *event.Problem {
	return executor.NewProblem(event.Communication, 500, "Reflection failed", "asked for its description, the server gave %s", fmt.Sprintf(format, args...))
}

// fullName finds the package of a service that is given without one.
func (q *questions) fullName(service string) (string, error) {
	if strings.Contains(service, ".") {
		return service, nil
	}
	known, err := q.services()
	if err != nil {
		return "", err
	}
	var found []string
	for _, name := range known {
		if name == service {
			return service, nil
		}
		if strings.HasSuffix(name, "."+service) {
			found = append(found, name)
		}
	}
	switch len(found) {
	case 0:
		return "", invalid("the server has no service %q; it has [%s]", service, head(strings.Join(known, ", ")))
	case 1:
		return found[0], nil
	}
	return "", invalid("the server has more than one service %q: [%s]; give it with its package", service, strings.Join(found, ", "))
}

// services are those that the server has.
func (q *questions) services() (names []string, err error) {
	answer, err := q.ask(&reflection.ServerReflectionRequest{MessageRequest: &reflection.ServerReflectionRequest_ListServices{ListServices: "*"}})
	if err != nil {
		return nil, err
	}
	for _, s := range answer.GetListServicesResponse().GetService() {
		names = append(names, s.GetName())
	}
	return names, nil
}

// fetch takes the files of an answer.
func (q *questions) fetch(request *reflection.ServerReflectionRequest, what string) error {
	answer, err := q.ask(request)
	if err != nil {
		return err
	}
	if e := answer.GetErrorResponse(); e != nil {
		return invalid("the server says that it has no %s: %s", what, head(e.GetErrorMessage()))
	}
	for _, b := range answer.GetFileDescriptorResponse().GetFileDescriptorProto() {
		if q.size += len(b); q.size > maxOutput {
			return tooMuch("more than %d bytes", maxOutput)
		}
		f := new(descriptorpb.FileDescriptorProto)
		if err := proto.Unmarshal(b, f); err != nil {
			return tooMuch("a file that cannot be read: %v", err)
		}
		q.files[f.GetName()] = f
	}
	return nil
}

func (q *questions) ask(request *reflection.ServerReflectionRequest) (*reflection.ServerReflectionResponse, error) {
	// An error of sending is only that the stream has ended; receiving says how.
	_ = q.stream.SendMsg(request)
	answer := new(reflection.ServerReflectionResponse)
	if err := q.stream.RecvMsg(answer); err != nil {
		return nil, err
	}
	return answer, nil
}

// missing is a file that another imports and that is not there yet: built-in
// ones are taken from here.
func (q *questions) missing() string {
	for {
		added := false
		for _, f := range q.files {
			for _, name := range f.GetDependency() {
				if q.files[name] != nil {
					continue
				}
				known, err := builtIn(name)
				if errors.Is(err, protoregistry.NotFound) {
					return name
				}
				if err == nil {
					q.files[name] = protodesc.ToFileDescriptorProto(known)
					added = true
				}
			}
		}
		if !added {
			return ""
		}
	}
}

// builtIn finds a file of Protocol Buffers itself, which servers may leave out.
func builtIn(name string) (protoreflect.FileDescriptor, error) {
	if !strings.HasPrefix(name, "google/") {
		return nil, protoregistry.NotFound
	}
	return protoregistry.GlobalFiles.FindFileByPath(name)
}
