/* Calls a function until the file named by the first argument is there; sleeps in two threads
   meanwhile, and checks that their sleep is whole. */
#include <pthread.h>
#include <time.h>
#include <unistd.h>

static char *file;
static volatile long sum;

__attribute__((noinline)) long step(long n) {
    __asm__ volatile("" : "+r"(n));
    return n + 1;
}

static void *sleeper(void *unused) {
    while (access(file, F_OK)) {
        struct timespec begin, end, wanted = {0, 30000000};
        clock_gettime(CLOCK_MONOTONIC, &begin);
        if (nanosleep(&wanted, 0))
            _exit(3);
        clock_gettime(CLOCK_MONOTONIC, &end);
        if ((end.tv_sec - begin.tv_sec) * 1000000000L + end.tv_nsec - begin.tv_nsec < 30000000)
            _exit(4);
    }
    return unused;
}

int main(int argc, char **argv) {
    pthread_t threads[2];
    if (argc < 2)
        return 2;
    file = argv[1];
    for (int i = 0; i < 2; i++)
        pthread_create(threads + i, 0, sleeper, 0);
    while (access(file, F_OK)) {
        for (int i = 0; i < 50; i++)
            sum = step(sum);
        usleep(1000);
    }
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], 0);
    return 0;
}
