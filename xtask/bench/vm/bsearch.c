/* Sixteen binary searches in 1024 numbers. */
#include "vm.h"
u64 program(u8 *mem, u64 len) {
    const u32 *numbers = (const u32 *)mem;
    u64 sum = 0;
    for (u32 i = 0; i < 16; i++) {
        u32 wanted = i * 1237 & 8191, low = 0, count = 1024;
        while (count > 1) {
            u32 half = count / 2;
            if (numbers[low + half] <= wanted) low += half;
            count -= half;
        }
        sum = sum * 31 + low;
    }
    return sum;
}
#ifndef __bpf__
void prepare(u8 *mem) {
    scramble(mem, MEMORY);
    for (u32 i = 0; i < 1024; i++) ((u32 *)mem)[i] = i * 8 + (i * 2654435761u >> 29);
}
#endif
