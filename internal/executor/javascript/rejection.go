//go:build !race

package javascript

import (
	"reflect"
	"unsafe"

	"modernc.org/libc"
	"modernc.org/libquickjs"
	"modernc.org/quickjs"
)

// rejections are the promises that were rejected while nobody looked. A script
// that leaves one fails, as it does under node: `main()` without a catch is
// the most common form of a script, and its errors must not be lost.
//
// Package quickjs has no door to the engine's tracker, so that we take the
// runtime out of its VM. TestRejections holds that; newer versions may have one.
type rejections struct {
	tls     *libc.TLS
	context uintptr
	open    []rejection
}

type rejection struct{ promise, reason libquickjs.TJSValue }

// reasonName is the global variable through which a reason goes back.
const reasonName = "__downbeat_reason"

// track begins to follow the promises of a VM. It does nothing when the VM is
// not built as we know it.
func (r *rejections) track(vm *quickjs.VM) {
	state := reflect.ValueOf(vm).Elem().FieldByName("state")
	if !state.IsValid() {
		return
	}
	context, runtime := state.FieldByName("cContext"), state.FieldByName("runtime")
	if !context.IsValid() || !runtime.IsValid() || runtime.Kind() != reflect.Pointer {
		return
	}
	address, tls := runtime.Elem().FieldByName("cRuntime"), runtime.Elem().FieldByName("tls")
	if !address.IsValid() || !tls.IsValid() || tls.Type() != reflect.TypeFor[*libc.TLS]() {
		return
	}
	r.context, r.tls = uintptr(context.Uint()), (*libc.TLS)(tls.UnsafePointer())
	tracker := func(_ *libc.TLS, _ uintptr, promise, reason libquickjs.TJSValue, handled int32, _ uintptr) {
		r.tell(promise, reason, handled != 0)
	}
	// A function of the engine is the address of a closure.
	f := any(tracker)
	libquickjs.XJS_SetHostPromiseRejectionTracker(r.tls, uintptr(address.Uint()), (*[2]uintptr)(unsafe.Pointer(&f))[1], 0) //nolint:gosec // as package quickjs does
	keep = append(keep, f)
}

// keep holds the trackers, which the engine knows by address only.
var keep []any

func (r *rejections) tell(promise, reason libquickjs.TJSValue, handled bool) {
	if !handled {
		r.open = append(r.open, rejection{
			promise: libquickjs.XDupValue(r.tls, r.context, promise), reason: libquickjs.XDupValue(r.tls, r.context, reason),
		})
		return
	}
	for i, o := range r.open {
		if o.promise == promise {
			libquickjs.XFreeValue(r.tls, r.context, o.promise)
			libquickjs.XFreeValue(r.tls, r.context, o.reason)
			r.open = append(r.open[:i], r.open[i+1:]...)
			return
		}
	}
}

// first is the oldest rejection that is still unhandled.
func (r *rejections) first() (reason libquickjs.TJSValue, ok bool) {
	if len(r.open) == 0 {
		return reason, false
	}
	return r.open[0].reason, true
}

// raise puts the reason where the prelude finds it.
func (r *rejections) raise(reason libquickjs.TJSValue) {
	global := libquickjs.XJS_GetGlobalObject(r.tls, r.context)
	defer libquickjs.XFreeValue(r.tls, r.context, global)
	name, err := libc.CString(reasonName)
	if err != nil {
		return
	}
	defer libc.Xfree(r.tls, name)
	libquickjs.XJS_SetPropertyStr(r.tls, r.context, global, name, reason) // takes our reference
}
