/* Breaks a rule of the machine in the way that its first argument names; the second one handles it. */
#include <dlfcn.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

static sigjmp_buf escape;
static volatile int zero;
static char *volatile nothing;
static const char constant[] = "constant";

/* Hides from the compiler what a pointer points to. */
static char *argument_of(const void *pointer) {
    static const void *volatile cell;
    cell = pointer;
    return (char *)cell;
}

static void handler(int number) { siglongjmp(escape, number); }

static int recurse(int n) {
    volatile char room[4096];
    room[0] = (char)n;
    return n < 0 ? 0 : recurse(n + 1) + room[0];
}

static int fault(const char *kind) {
    if (strcmp(kind, "null") == 0)
        return *nothing;
    if (strcmp(kind, "library") == 0)
        return (int)strlen(nothing);
    if (strcmp(kind, "constant") == 0)
        strcpy(argument_of(constant), "x");
    if (strcmp(kind, "jump") == 0)
        ((void (*)(void))nothing)();
    if (strcmp(kind, "divide") == 0)
        return 100 / zero;
    if (strcmp(kind, "illegal") == 0)
        __asm__ volatile("ud2");
    if (strcmp(kind, "syscall") == 0)
        __asm__ volatile("syscall");
    if (strcmp(kind, "execute") == 0)
        ((void (*)(void))mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_ANON | MAP_PRIVATE, -1, 0))();
    if (strcmp(kind, "stack") == 0)
        return recurse(0);
    if (strcmp(kind, "free") == 0)
        free((void *)constant);
    if (strcmp(kind, "data") == 0)
        return *(volatile char *)dlsym(RTLD_DEFAULT, "puts");
    return 0;
}

int main(int argc, char **argv) {
    if (argc > 2) {
        signal(SIGSEGV, handler);
        signal(SIGBUS, handler);
        signal(SIGFPE, handler);
        signal(SIGILL, handler);
        int number = sigsetjmp(escape, 1);
        if (number) {
            printf("signal %d\n", number);
            return 0;
        }
    }
    return fault(argv[1]);
}
