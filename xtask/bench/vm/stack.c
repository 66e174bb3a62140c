/* Numbers sorted into buckets on the stack. */
#include "vm.h"
u64 program(u8 *mem, u64 len) {
    u32 buckets[64];
    for (u32 i = 0; i < 64; i++) buckets[i] = i;
    for (u32 i = 0; i < 256; i++) buckets[mem[i] & 63] += mem[i] >> 6;
    u64 sum = 0;
    for (u32 i = 0; i < 64; i++) sum = sum * 5 + buckets[i];
    return sum;
}
#ifndef __bpf__
void prepare(u8 *mem) { scramble(mem, MEMORY); }
#endif
