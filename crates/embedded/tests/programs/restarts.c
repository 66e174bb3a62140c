/* Reads that signals interrupt, with SA_RESTART and without. Prints how often read() began. */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

static volatile int interrupted;

static void on_signal(int signal) {
    (void)signal;
    interrupted++;
}

int main(void) {
    int data[2], reads = 0, failed = 0;
    char byte;
    if (pipe(data))
        return 2;
    for (int restart = 0; restart < 2; restart++) {
        struct sigaction action = {.sa_handler = on_signal, .sa_flags = restart ? SA_RESTART : 0};
        sigaction(SIGUSR1, &action, 0);
        /* Before signals come, so that the agent is there. */
        for (int i = 0; i < 50; i++, reads++)
            if (write(data[1], "", 1) != 1 || read(data[0], &byte, 1) != 1)
                return 3;
        pid_t pid = fork();
        if (pid == 0) {
            for (int i = 0; i < 20; i++) {
                usleep(3000);
                kill(getppid(), SIGUSR1);
                usleep(3000);
                if (write(data[1], "", 1) != 1)
                    _exit(1);
            }
            _exit(0);
        }
        for (int i = 0; i < 20; i++) {
            int before = interrupted;
            for (;;) {
                reads++;
                if (read(data[0], &byte, 1) == 1)
                    break;
                if (errno != EINTR || restart)
                    return 4;
                failed++;
            }
            if (interrupted == before)
                return 5;
            /* What was restarted began twice. */
            reads += restart * (interrupted - before);
        }
        int status;
        waitpid(pid, &status, 0);
        if (status)
            return 6;
    }
    printf("%d\n", reads);
    return failed < 15 ? 7 : 0;
}
