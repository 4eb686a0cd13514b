#ifndef BRIDGE_H
#define BRIDGE_H
#include <stdint.h>

#include "lauxlib.h"
#include "lua.h"
#include "lualib.h"

// Push the function that calls the Go function behind `handle`.
void push_go_function(lua_State *L, uintptr_t handle);
// Run a chunk of source; on an error its message, with a traceback, is on the stack.
int run_chunk(lua_State *L, const char *source, size_t size, const char *name);

#endif
