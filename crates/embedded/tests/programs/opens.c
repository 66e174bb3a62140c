/* Opens a file again and again for about the milliseconds given; an error ends it with 1. When all
   went well, makes the file named by the second argument. */
#include <fcntl.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

int main(int argc, char **argv) {
    struct timespec begin, now;
    clock_gettime(CLOCK_MONOTONIC, &begin);
    do {
        int fd = open("/etc/passwd", O_RDONLY);
        if (fd < 0 || close(fd) < 0)
            return 1;
        usleep(500);
        clock_gettime(CLOCK_MONOTONIC, &now);
    } while ((now.tv_sec - begin.tv_sec) * 1000 + (now.tv_nsec - begin.tv_nsec) / 1000000 <
             atol(argv[1]));
    if (argc > 2 && creat(argv[2], 0644) < 0)
        return 2;
    return 0;
}
