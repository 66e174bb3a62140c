/* Reads that signals interrupt, with SA_RESTART and without. Prints how often readv() began. */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

static volatile int *interrupted; /* shared */

static void on_signal(int signal) {
    (void)signal;
    ++*interrupted;
}

/* Waits until the parent sleeps: there is nothing it could sleep in but readv(). */
static void parent_sleeps(void) {
    char path[64], stat[512];
    snprintf(path, sizeof path, "/proc/%d/stat", getppid());
    for (;;) {
        FILE *file = fopen(path, "r");
        size_t length = file ? fread(stat, 1, sizeof stat - 1, file) : 0;
        if (file)
            fclose(file);
        stat[length] = 0;
        char *state = strrchr(stat, ')');
        if (!state || state[2] == 'S')
            return;
        usleep(200);
    }
}

static int disturb(int to) {
    for (int i = 0; i < 20; i++) {
        parent_sleeps();
        int before = *interrupted;
        kill(getppid(), SIGUSR1);
        while (*interrupted == before)
            usleep(200);
        parent_sleeps();
        if (write(to, "", 1) != 1)
            return 1;
        /* Until it was read: the next signal is for the next readv(). */
        usleep(3000);
    }
    return 0;
}

int main(void) {
    int data[2], reads = 0;
    char byte;
    struct iovec piece = {&byte, 1};
    interrupted = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (pipe(data))
        return 2;
    for (int restart = 0; restart < 2; restart++) {
        struct sigaction action = {.sa_handler = on_signal, .sa_flags = restart ? SA_RESTART : 0};
        sigaction(SIGUSR1, &action, 0);
        /* Before signals come, so that the agent is there. */
        for (int i = 0; i < 50; i++, reads++)
            if (write(data[1], "", 1) != 1 || readv(data[0], &piece, 1) != 1)
                return 3;
        pid_t pid = fork();
        if (pid == 0)
            _exit(disturb(data[1]));
        for (int i = 0; i < 20; i++) {
            int before = *interrupted;
            for (;;) {
                reads++;
                if (readv(data[0], &piece, 1) == 1)
                    break;
                if (errno != EINTR || restart)
                    return 4;
            }
            if (*interrupted != before + 1)
                return 5;
            /* What was restarted began twice. */
            reads += restart;
        }
        int status;
        waitpid(pid, &status, 0);
        if (status)
            return 6;
    }
    printf("%d\n", reads);
    return 0;
}
