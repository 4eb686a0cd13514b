#ifndef SHAPES_H
#define SHAPES_H
#ifdef __cplusplus
extern "C" {
#endif

const char *initialized(void);
char *evaluate(const char *expression, double *result);
double total_area(void);
int unwind_depth(int depth);
const char *catch_each(void);
const char *sorted(void);
void log_from_cxx(void);
int thread_locals(void);
void print_with_iostream(void);

#ifdef __cplusplus
}
#endif
#endif
