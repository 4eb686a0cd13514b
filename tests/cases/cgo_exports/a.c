#include "_cgo_export.h"
#include <string.h>
static const char *names[] = {"a","bb","ccc"};
int twice(int x) { return 2*x + (int)strlen(names[x%3]) - (int)strlen(names[x%3]); }
int callGo(int x) { return goTriple(x) + 1; }
