/* Has one of each thing that a host program tells dyld: constructors, thread-locals, a weak
   definition, exported functions, pointers to rebase, imported functions. */
#include <stdio.h>
#include <stdlib.h>

_Thread_local int counter = 7;
_Thread_local int zero;
static const char *names[] = {"zero", "one", "two"};

__attribute__((weak)) int overridable(int x) { return x + counter; }
int exported(int x) { return x * 2 + overridable(x); }
__attribute__((constructor)) static void construct(void) { puts("constructed"); }

int main(int argc, char **argv) {
  zero = argc;
  printf("%s %d\n", names[argc % 3], exported(argc) + zero);
  free(malloc(3));
  return 0;
}
