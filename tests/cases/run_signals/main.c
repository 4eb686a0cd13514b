/* Handlers, masks, alternate stacks, jumps out of handlers, interrupted calls. */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static volatile sig_atomic_t seen, alarms;
static sigjmp_buf escape;
static char *stack_low, *stack_high;
static int on_stack;

static void note(int number) { seen = number; }

static void count(int number) { alarms++; }

static void jump(int number, siginfo_t *info, void *context) {
    char here;
    on_stack = &here >= stack_low && &here < stack_high;
    siglongjmp(escape, info->si_addr == (void *)0x10 ? number : -1);
}

static int recurse(int n) {
    static jmp_buf buffer;
    if (n == 5)
        longjmp(buffer, 55);
    if (n == 0) {
        int value = setjmp(buffer);
        if (value)
            return value;
    }
    return recurse(n + 1);
}

int main(int argc, char **argv) {
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = note;
    sigaction(SIGUSR1, &action, NULL);
    raise(SIGUSR1);
    printf("raised %d\n", seen == SIGUSR1);

    sigset_t blocked, pending, old;
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGUSR2);
    signal(SIGUSR2, note);
    sigprocmask(SIG_BLOCK, &blocked, &old);
    kill(getpid(), SIGUSR2);
    sigpending(&pending);
    printf("blocked %d pending %d\n", seen == SIGUSR1, sigismember(&pending, SIGUSR2));
    sigprocmask(SIG_SETMASK, &old, NULL);
    raise(0 + SIGUSR1);
    printf("delivered %d\n", seen == SIGUSR1 || seen == SIGUSR2);

    stack_low = malloc(SIGSTKSZ);
    stack_high = stack_low + SIGSTKSZ;
    stack_t alternate = {.ss_sp = stack_low, .ss_size = SIGSTKSZ};
    sigaltstack(&alternate, NULL);
    action.sa_handler = NULL;
    action.sa_sigaction = jump;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK;
    sigaction(SIGSEGV, &action, NULL);
    for (int i = 0; i < 3; i++) {
        int number = sigsetjmp(escape, 1);
        if (number == 0) {
            *(volatile int *)0x10 = 1;
        }
        printf("fault %d on alternate stack %d\n", number == SIGSEGV, on_stack);
    }

    action.sa_handler = count;
    action.sa_flags = 0;
    sigaction(SIGALRM, &action, NULL);
    alarm(1);
    int result = pause();
    printf("pause %d %d alarms %d\n", result, errno == EINTR, alarms);
    printf("longjmp %d\n", recurse(0));
    fflush(stdout);
    if (argc > 1)
        raise(SIGTERM);
    abort();
}
