/* Primes below 200 by division. */
#include "vm.h"
u64 program(u8 *mem, u64 len) {
    u64 count = 0;
    for (u32 n = 2; n < 200; n++) {
        u32 by = 2;
        while (by * by <= n && n % by) by++;
        count += by * by > n;
    }
    return count;
}
#ifndef __bpf__
void prepare(u8 *mem) { scramble(mem, MEMORY); }
#endif
