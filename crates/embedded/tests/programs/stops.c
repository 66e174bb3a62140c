/* Stops a child by SIGSTOP and by SIGTSTP, sees it stopped, and lets it go on. */
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

int main(void) {
    int status, go[2];
    int expected[] = {SIGSTOP, SIGTSTP};
    char byte = 0;
    if (pipe(go))
        return 1;
    pid_t pid = fork();
    if (pid == 0) {
        /* In an orphaned process group SIGTSTP would do nothing. */
        setpgid(0, 0);
        for (int i = 0; i < 2; i++)
            if (read(go[0], &byte, 1) == 1)
                raise(expected[i]);
        for (;;)
            getppid();
    }
    for (int i = 0; i < 2; i++) {
        if (write(go[1], &byte, 1) != 1)
            return 1;
        if (waitpid(pid, &status, WUNTRACED) != pid || !WIFSTOPPED(status))
            return 2;
        if (WSTOPSIG(status) != expected[i])
            return 3;
        kill(pid, SIGCONT);
        if (waitpid(pid, &status, WCONTINUED) != pid || !WIFCONTINUED(status))
            return 4;
    }
    usleep(20000);
    kill(pid, SIGSTOP);
    if (waitpid(pid, &status, WUNTRACED) != pid || !WIFSTOPPED(status))
        return 5;
    kill(pid, SIGKILL);
    if (waitpid(pid, &status, 0) != pid || !WIFSIGNALED(status))
        return 6;
    return 0;
}
