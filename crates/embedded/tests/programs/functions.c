/* Functions to probe, in the program, two threads and a child: `recurse` is entered and left 1200
   times, `leaf` 300 times; `escape` is entered 100 times and never returns. */
#include <pthread.h>
#include <setjmp.h>
#include <sys/wait.h>
#include <unistd.h>

static jmp_buf out;

__attribute__((noinline)) long leaf(long n) {
    __asm__ volatile("" : "+r"(n));
    return n + 1;
}

__attribute__((noinline)) long recurse(long n) {
    __asm__ volatile("" : "+r"(n));
    return n == 0 ? leaf(0) : recurse(n - 1) + 1;
}

__attribute__((noinline)) void escape(long n) {
    if (n >= 0)
        longjmp(out, 1);
}

static void *work(void *unused) {
    for (long i = 0; i < 100; i++)
        if (recurse(3) != 4)
            _exit(9);
    return unused;
}

int main(void) {
    pthread_t threads[2];
    for (int i = 0; i < 2; i++)
        pthread_create(threads + i, 0, work, 0);
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], 0);
    for (volatile int i = 0; i < 100; i++)
        if (!setjmp(out))
            escape(i);
    pid_t pid = fork();
    if (pid == 0) {
        work(0);
        _exit(3);
    }
    int status;
    waitpid(pid, &status, 0);
    return WIFEXITED(status) && WEXITSTATUS(status) == 3 ? 0 : 1;
}
