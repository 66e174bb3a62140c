/* Children by vfork, posix_spawn and fork, twenty each; the last is a thread's. */
#define _GNU_SOURCE
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

int main(void) {
    char *argv[] = {"true", 0};
    int status;
    volatile int bad = 0;
    for (volatile int i = 0; i < 20; i++) {
        pid_t pid = vfork();
        if (pid == 0) {
            execv("/bin/true", argv);
            _exit(9);
        }
        waitpid(pid, &status, 0);
        bad |= status;
        if (posix_spawn(&pid, "/bin/true", 0, 0, argv, environ))
            return 2;
        waitpid(pid, &status, 0);
        bad |= status;
        pid = fork();
        if (pid == 0)
            _exit(i);
        waitpid(pid, &status, 0);
        bad |= WEXITSTATUS(status) != i;
    }
    return bad != 0;
}
