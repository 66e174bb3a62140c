/* The place of the highest bit of 128 numbers. */
#include "vm.h"
static inline u32 highest(u64 value) {
    u32 place = 0;
    if (value >> 32) value >>= 32, place += 32;
    if (value >> 16) value >>= 16, place += 16;
    if (value >> 8) value >>= 8, place += 8;
    if (value >> 4) value >>= 4, place += 4;
    if (value >> 2) value >>= 2, place += 2;
    return place + (value >> 1);
}
u64 program(u8 *mem, u64 len) {
    const u64 *words = (const u64 *)mem;
    u64 sum = 0;
    for (u32 i = 0; i < 128; i++) sum = sum * 3 + highest(words[i] >> (i & 63));
    return sum;
}
#ifndef __bpf__
void prepare(u8 *mem) { scramble(mem, MEMORY); }
#endif
