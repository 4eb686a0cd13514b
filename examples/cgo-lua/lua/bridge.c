#include "bridge.h"

#include "_cgo_export.h"

static int call_go(lua_State *L) {
  uintptr_t handle = (uintptr_t)lua_tointeger(L, lua_upvalueindex(1));
  int results = goFunction(handle, L);
  // Errors leave Lua's C functions by longjmp, which must not pass over Go: so it starts here.
  return results < 0 ? lua_error(L) : results;
}

void push_go_function(lua_State *L, uintptr_t handle) {
  lua_pushinteger(L, (lua_Integer)handle);
  lua_pushcclosure(L, call_go, 1);
}

static int traceback(lua_State *L) {
  luaL_traceback(L, L, lua_tostring(L, 1), 1);
  return 1;
}

int run_chunk(lua_State *L, const char *source, size_t size, const char *name) {
  lua_pushcfunction(L, traceback);
  int handler = lua_gettop(L);
  int status = luaL_loadbuffer(L, source, size, name);
  if (status == LUA_OK) {
    status = lua_pcall(L, 0, 0, handler);
  }
  lua_remove(L, handler);
  return status;
}
