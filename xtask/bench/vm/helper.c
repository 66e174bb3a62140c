/* A hundred calls of a helper that does nothing. */
#include "vm.h"
u64 program(u8 *mem, u64 len) {
    u64 sum = 0;
    for (int i = 0; i < 100; i++) sum += helper(i) + i;
    return sum;
}
#ifndef __bpf__
void prepare(u8 *mem) { scramble(mem, MEMORY); }
#endif
