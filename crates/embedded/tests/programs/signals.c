/* Signals with values arrive in order, an interval timer makes no call fail, masks hold. */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

static volatile int next, wrong, alarms;

static void value(int number, siginfo_t *info, void *context) {
    (void)number, (void)context;
    wrong |= info->si_value.sival_int != next++ || info->si_pid != getpid();
}

static void alarm_came(int number) {
    (void)number;
    alarms++;
}

int main(void) {
    struct sigaction action = {.sa_sigaction = value, .sa_flags = SA_SIGINFO};
    sigaction(SIGRTMIN, &action, 0);
    struct sigaction on_alarm = {.sa_handler = alarm_came};
    sigaction(SIGALRM, &on_alarm, 0);
    struct itimerval timer = {{0, 2000}, {0, 2000}};
    setitimer(ITIMER_REAL, &timer, 0);
    for (int i = 0; i < 300; i++)
        if (sigqueue(getpid(), SIGRTMIN, (union sigval){.sival_int = i}))
            return 2;
    for (int i = 0; i < 3000; i++)
        if (syscall(SYS_getppid) <= 0)
            return 3;
    sigset_t set, old;
    sigemptyset(&set);
    sigaddset(&set, SIGRTMIN);
    sigprocmask(SIG_BLOCK, &set, &old);
    sigqueue(getpid(), SIGRTMIN, (union sigval){.sival_int = 300});
    if (next != 300)
        return 4;
    sigprocmask(SIG_SETMASK, &old, 0);
    while (alarms < 5)
        pause();
    return wrong ? 5 : next == 301 ? 0 : 6;
}
