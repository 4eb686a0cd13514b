// One of everything that a C object can hold: thread-locals, commons, weak symbols,
// constructors, literals of each size, switch tables, differences, absolute pointers.
#include <stdio.h>
#include <stdlib.h>

__thread int counter = 5;
__thread long zero_counter;
static _Thread_local char letters[3] = {1, 2, 3};
int common_a;
int common_b __attribute__((common));
static int table[100];
const char *messages[] = {"hello", "world", "tail\0x"};

__attribute__((weak)) int weak_function(void) { return 1; }
extern int weak_import(void) __attribute__((weak_import));
__attribute__((visibility("hidden"))) int hidden(int x) { return x + table[x] + counter; }
__attribute__((constructor)) static void construct(void) { puts("constructed"); }
__attribute__((destructor)) static void destruct(void) { puts("destructed"); }
__attribute__((used)) static int used_value = 3;

double scale(double x) { return x * 3.25 + 1.5; }
float scale_float(float x) { return x * 2.75f; }

int select_case(int x) {
  switch (x) {
  case 0: return puts("a");
  case 1: return puts("b");
  case 2: return rand();
  case 3: return abs(x) * 7;
  case 4: return zero_counter + letters[x & 1];
  default: return 0;
  }
}

int main(int argc, char **argv) {
  if (weak_import) weak_import();
  printf("%d %s\n", hidden(argc) + weak_function() + common_a + common_b, messages[argc % 3]);
  return select_case(argc) + scale(argc) + scale_float(argc);
}

long distance(void) { return (char *)&table[50] - (char *)table; }
int (*function_pointer)(const char *, ...) = printf;
int *interior = &table[7];
extern int elsewhere[];
int *outside = &elsewhere[3];
