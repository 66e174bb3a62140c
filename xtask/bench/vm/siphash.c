/* SipHash-2-4 of 2 KiB. */
#include "vm.h"
static inline u64 rotate(u64 value, int by) { return value << by | value >> (64 - by); }
#define ROUND                                                        \
    a += b, b = rotate(b, 13), b ^= a, a = rotate(a, 32);            \
    c += d, d = rotate(d, 16), d ^= c;                               \
    a += d, d = rotate(d, 21), d ^= a;                               \
    c += b, b = rotate(b, 17), b ^= c, c = rotate(c, 32)
u64 program(u8 *mem, u64 len) {
    const u64 *words = (const u64 *)mem;
    u64 a = 0x736f6d6570736575 ^ 1, b = 0x646f72616e646f6d ^ 2;
    u64 c = 0x6c7967656e657261 ^ 1, d = 0x7465646279746573 ^ 2;
    for (u32 i = 0; i < 256; i++) {
        d ^= words[i];
        ROUND;
        ROUND;
        a ^= words[i];
    }
    d ^= 2048ull << 56;
    ROUND;
    ROUND;
    a ^= 2048ull << 56;
    c ^= 0xff;
    ROUND;
    ROUND;
    ROUND;
    ROUND;
    return a ^ b ^ c ^ d;
}
#ifndef __bpf__
void prepare(u8 *mem) { scramble(mem, MEMORY); }
#endif
