/* The machine's own code of a program: `prepare` writes the memory that it starts with, `time N`
 * prints what it gives, and the least and the middle nanoseconds a run of N batches. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "vm.h"

noinline u64 helper(u64 value) {
    __asm__ volatile("");
    return 0;
}

noinline u64 *lookup(void *memory, u32 *key) {
    struct table *table = memory;
    for (u32 at = place_of(*key);; at = (at + 1) % 256) {
        if (table->places[at].key == *key) return &table->places[at].value;
        if (!table->places[at].key) return 0;
    }
}

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1e9 + time.tv_nsec;
}

static double batch(u8 *mem, u64 runs) {
    double start = now();
    for (u64 i = 0; i < runs; i++) program(mem, MEMORY);
    return (now() - start) / runs;
}

static int ascending(const void *a, const void *b) {
    return (*(double *)a > *(double *)b) - (*(double *)a < *(double *)b);
}

int main(int argc, char **argv) {
    static u8 mem[MEMORY] __attribute__((aligned(64)));
    prepare(mem);
    if (!strcmp(argv[1], "prepare")) return fwrite(mem, MEMORY, 1, stdout) != 1;
    u64 value = program(mem, MEMORY);
    int batches = atoi(argv[2]);
    double *times = malloc(batches * sizeof(*times));
    u64 runs = 20000 / batch(mem, 1000) + 1;
    for (int i = 0; i < batches; i++) times[i] = batch(mem, runs);
    qsort(times, batches, sizeof(*times), ascending);
    printf("%llx %.3f %.3f\n", value, times[0], times[batches / 2]);
    return 0;
}
