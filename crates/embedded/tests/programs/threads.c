/* Five rounds of eight threads with 500 system calls each. Ends with 7. */
#include <pthread.h>
#include <sys/syscall.h>
#include <unistd.h>

static void *work(void *unused) {
    for (int i = 0; i < 500; i++)
        syscall(SYS_getppid);
    return unused;
}

int main(void) {
    pthread_t threads[8];
    for (int round = 0; round < 5; round++) {
        for (int i = 0; i < 8; i++)
            if (pthread_create(threads + i, 0, work, 0))
                return 1;
        for (int i = 0; i < 8; i++)
            pthread_join(threads[i], 0);
    }
    return 7;
}
