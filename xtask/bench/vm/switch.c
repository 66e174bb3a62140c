/* A small machine of its own: 256 instructions of eight kinds. */
#include "vm.h"
u64 program(u8 *mem, u64 len) {
    u64 a = 1, b = 2;
    for (u32 i = 0; i < 256; i++) {
        switch (mem[i] & 7) {
        case 0: a += b; break;
        case 1: b ^= a; break;
        case 2: a = a << 3 | a >> 61; break;
        case 3: b -= a; break;
        case 4: a *= 5; break;
        case 5: b += i; break;
        case 6: a ^= b >> 7; break;
        default: b = ~b; break;
        }
    }
    return a ^ b;
}
#ifndef __bpf__
void prepare(u8 *mem) { scramble(mem, MEMORY); }
#endif
