// Package lua runs Lua 5.4, whose sources are compiled into this package (examples/sources.py puts
// them here).
package lua

/*
#cgo CFLAGS: -O2
#cgo !darwin LDFLAGS: -lm
#include <stdlib.h>
#include <stdio.h>
#include "bridge.h"

static void flush(void) { fflush(stdout); }
static const char *to_string(lua_State *L, int index, size_t *size) { return lua_tolstring(L, index, size); }
*/
import "C"

import (
	"errors"
	"runtime/cgo"
	"unsafe"
)

// A Function is what Lua code can call: strings in, a string or an error out.
type Function func(arguments []string) (string, error)

// State is one Lua interpreter.
type State struct {
	state   *C.lua_State
	handles []cgo.Handle
}

// New returns an interpreter with Lua's standard libraries.
func New() *State {
	s := &State{state: C.luaL_newstate()}
	C.luaL_openlibs(s.state)
	return s
}

// Close ends the interpreter; Lua objects are finalized.
func (s *State) Close() {
	C.lua_close(s.state)
	C.flush()
	for _, handle := range s.handles {
		handle.Delete()
	}
}

// Register makes a Go function a global of the interpreter.
func (s *State) Register(name string, function Function) {
	handle := cgo.NewHandle(function)
	s.handles = append(s.handles, handle)
	C.push_go_function(s.state, C.uintptr_t(handle))
	text := C.CString(name)
	defer C.free(unsafe.Pointer(text))
	C.lua_setglobal(s.state, text)
}

// Run executes a chunk of source text; what Lua prints goes to the standard output of C.
func (s *State) Run(source, name string) error {
	text, title := C.CString(source), C.CString(name)
	defer C.free(unsafe.Pointer(text))
	defer C.free(unsafe.Pointer(title))
	status := C.run_chunk(s.state, text, C.size_t(len(source)), title)
	C.flush()
	if status != C.LUA_OK {
		message := pop(s.state)
		return errors.New(message)
	}
	return nil
}

// pop returns the value on top of the stack as a string, and removes it.
func pop(state *C.lua_State) string {
	defer C.lua_settop(state, -2)
	return text(state, -1)
}

func text(state *C.lua_State, index C.int) string {
	var size C.size_t
	return C.GoStringN(C.to_string(state, index, &size), C.int(size))
}

func push(state *C.lua_State, value string) {
	data := C.CString(value)
	defer C.free(unsafe.Pointer(data))
	C.lua_pushlstring(state, data, C.size_t(len(value)))
}

//export goFunction
func goFunction(handle C.uintptr_t, state *C.lua_State) C.int {
	function := cgo.Handle(handle).Value().(Function)
	arguments := make([]string, C.lua_gettop(state))
	for i := range arguments {
		arguments[i] = text(state, C.int(i+1))
	}
	result, err := function(arguments)
	if err != nil {
		push(state, err.Error())
		return -1
	}
	push(state, result)
	return 1
}
