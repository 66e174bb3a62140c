/* Calls of functions of the program, 896 in all. */
#include "vm.h"
static noinline u64 leaf(u64 a, u64 b) { return (a ^ b) + (b >> 3); }
static noinline u64 branch(u64 a, u64 b) {
    u64 sum = a;
    for (u32 i = 0; i < 6; i++) sum += leaf(sum, b + i);
    return sum;
}
u64 program(u8 *mem, u64 len) {
    u64 sum = 1;
    for (u32 i = 0; i < 128; i++) sum ^= branch(sum, i);
    return sum;
}
#ifndef __bpf__
void prepare(u8 *mem) { scramble(mem, MEMORY); }
#endif
