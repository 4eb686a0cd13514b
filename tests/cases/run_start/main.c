/* What runs before and after main, in which order; and what main gets. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static _Thread_local int local = 5;
static _Thread_local char zero[64];
static int order;

__attribute__((constructor(200))) static void second(void) { printf("constructor 2 %d\n", ++order); }
__attribute__((constructor(100))) static void first(int argc, char **argv) {
    printf("constructor 1 %d %s\n", ++order, argc == 2 ? argv[1] : "-");
}
__attribute__((destructor)) static void last(void) { puts("destructor"); }
static void exit_one(void) { puts("atexit 1"); }
static void exit_two(void) { puts("atexit 2"); }

static void *work(void *argument) {
    local += 2;
    strcpy(zero, argument);
    printf("thread %d %s\n", local, zero);
    return &order;
}

int main(int argc, char **argv) {
    pthread_t thread;
    void *result;
    atexit(exit_one);
    atexit(exit_two);
    printf("main %d\n", ++order);
    pthread_create(&thread, 0, work, "argument");
    pthread_join(thread, &result);
    printf("joined %d local %d zero %zu\n", result == &order, local, strlen(zero));
    return 3;
}
