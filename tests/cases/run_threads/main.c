/* Mutexes, condition variables, keys with destructors, once, read-write locks, thread-locals. */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define WORKERS 4

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t ready = PTHREAD_COND_INITIALIZER;
static pthread_rwlock_t table = PTHREAD_RWLOCK_INITIALIZER;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t key;
static int counter, started, destroyed, initialized, shared[16];
static _Thread_local int mine = 100;
static _Thread_local struct { char text[20]; double value; } big = {"initial", 2.5};

static void destroy(void *value) {
    pthread_mutex_lock(&lock);
    destroyed += *(int *)value;
    pthread_mutex_unlock(&lock);
    free(value);
}

static void initialize(void) {
    initialized++;
    pthread_key_create(&key, destroy);
}

static void *work(void *argument) {
    int id = (int)(long)argument;
    pthread_once(&once, initialize);
    int *value = malloc(sizeof *value);
    *value = id;
    pthread_setspecific(key, value);
    for (int i = 0; i < 500; i++) {
        pthread_mutex_lock(&lock);
        int seen = counter;
        if (i % 100 == 0)
            sched_yield();
        counter = seen + 1;
        pthread_mutex_unlock(&lock);
        mine++;
    }
    pthread_rwlock_wrlock(&table);
    shared[id] = mine + id;
    pthread_rwlock_unlock(&table);
    snprintf(big.text, sizeof big.text, "worker %d", id);
    big.value *= id;
    pthread_mutex_lock(&lock);
    started++;
    pthread_cond_signal(&ready);
    pthread_mutex_unlock(&lock);
    int same = pthread_getspecific(key) == value;
    if (id == 2)
        pthread_exit((void *)(long)(1000 + same));
    return (void *)(long)(mine + same + (long)big.value);
}

int main(void) {
    pthread_t threads[WORKERS];
    pthread_attr_t attributes;
    size_t size = 0;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, 1 << 20);
    pthread_attr_getstacksize(&attributes, &size);
    printf("stack %zu\n", size);
    for (long i = 0; i < WORKERS; i++)
        pthread_create(&threads[i], i % 2 ? &attributes : NULL, work, (void *)i);
    pthread_mutex_lock(&lock);
    while (started < WORKERS)
        pthread_cond_wait(&ready, &lock);
    pthread_mutex_unlock(&lock);
    for (int i = 0; i < WORKERS; i++) {
        void *result;
        pthread_join(threads[i], &result);
        printf("worker %d result %ld\n", i, (long)result);
    }
    printf("counter %d once %d destroyed %d\n", counter, initialized, destroyed);
    pthread_rwlock_rdlock(&table);
    for (int i = 0; i < WORKERS; i++)
        printf("%d ", shared[i]);
    pthread_rwlock_unlock(&table);
    printf("mine %d %s\n", mine, big.text);

    struct timeval now;
    gettimeofday(&now, NULL);
    struct timespec soon = {now.tv_sec + 1, 0};
    pthread_mutex_lock(&lock);
    int outcome = pthread_cond_timedwait(&ready, &lock, &soon);
    pthread_mutex_unlock(&lock);
    printf("timed out %d\n", outcome == ETIMEDOUT);

    pthread_mutexattr_t kind;
    pthread_mutex_t recursive;
    pthread_mutexattr_init(&kind);
    pthread_mutexattr_settype(&kind, PTHREAD_MUTEX_RECURSIVE);
    pthread_mutex_init(&recursive, &kind);
    printf("recursive %d %d\n", pthread_mutex_lock(&recursive), pthread_mutex_lock(&recursive));
    printf("busy %d\n", pthread_mutex_destroy(&recursive) == EBUSY);
    pthread_mutex_unlock(&recursive);
    pthread_mutex_unlock(&recursive);
    printf("destroyed %d\n", pthread_mutex_destroy(&recursive));
    return 0;
}
