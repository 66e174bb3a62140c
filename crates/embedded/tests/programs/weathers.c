/* Many getppid() under all circumstances that an agent has to get right. Prints how many. */
#define _GNU_SOURCE
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

static long *count; /* shared */
static volatile long in_handler;
static sigjmp_buf out;

static void calls(int number) {
    for (int i = 0; i < number; i++) {
        if (i % 2 ? syscall(SYS_getppid) <= 0 : getppid() <= 0)
            _exit(50);
        __atomic_add_fetch(count, 1, __ATOMIC_RELAXED);
    }
}

static void on_alarm(int signal) {
    (void)signal;
    calls(1);
    in_handler++;
}

static void leap(int signal) {
    (void)signal;
    siglongjmp(out, 1);
}

static void *thread(void *argument) {
    calls((long)argument);
    return 0;
}

static void set_timer(int microseconds) {
    struct itimerval timer = {{0, microseconds}, {0, microseconds}};
    setitimer(ITIMER_REAL, &timer, 0);
}

static int child(int number) {
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        calls(number);
        prctl(PR_SET_NAME, "renamed");
        calls(number);
        _exit(7);
    }
    waitpid(pid, &status, 0);
    return WEXITSTATUS(status) != 7;
}

int main(void) {
    int bad = 0, status;
    count = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    calls(5000);
    for (int i = 0; i < 20; i++)
        bad |= child(200);

    /* Signals at any instruction. */
    struct sigaction action = {.sa_handler = on_alarm, .sa_flags = SA_RESTART};
    sigaction(SIGALRM, &action, 0);
    set_timer(300);
    calls(10000);
    bad |= child(1000);
    while (in_handler < 20)
        calls(10);
    set_timer(0);

    /* On a stack of their own, and not coming back. */
    stack_t stack = {.ss_sp = malloc(SIGSTKSZ), .ss_size = SIGSTKSZ};
    sigaltstack(&stack, 0);
    struct sigaction jump = {.sa_handler = leap, .sa_flags = SA_ONSTACK | SA_NODEFER};
    sigaction(SIGUSR1, &jump, 0);
    for (volatile int i = 0; i < 200; i++)
        if (!sigsetjmp(out, 1))
            raise(SIGUSR1);
    calls(1000);

    for (volatile int i = 0; i < 20; i++) {
        pid_t pid = vfork();
        if (pid == 0) {
            calls(50);
            execl("/bin/true", "true", (char *)0);
            _exit(9);
        }
        waitpid(pid, &status, 0);
        bad |= status;
        calls(50);
        if ((pid = vfork()) == 0) {
            calls(20);
            _exit(3);
        }
        waitpid(pid, &status, 0);
        bad |= WEXITSTATUS(status) != 3;
    }

    /* Threads: before, while and after they are there. */
    pthread_t threads[4];
    set_timer(500);
    for (long i = 0; i < 4; i++)
        pthread_create(&threads[i], 0, thread, (void *)500);
    calls(500);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], 0);
    set_timer(0);
    bad |= child(300);
    calls(300);
    printf("%ld\n", *count);
    return bad;
}
