/* A thread that is not the first calls execve; then the program checks that it is the process. */
#include <pthread.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

static char *self;

static void *run(void *unused) {
    char *argv[] = {self, "again", 0};
    execv(self, argv);
    return unused;
}

static void *idle(void *unused) {
    for (;;)
        pause();
    return unused;
}

int main(int argc, char **argv) {
    if (argc > 1)
        return syscall(SYS_gettid) == getpid() ? 5 : 6;
    self = argv[0];
    pthread_t thread;
    for (int i = 0; i < 4; i++)
        pthread_create(&thread, 0, idle, 0);
    pthread_create(&thread, 0, run, 0);
    pthread_join(thread, 0);
    return 1;
}
