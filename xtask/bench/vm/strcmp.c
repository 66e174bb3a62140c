/* Two equal strings of 1000 bytes compared. */
#include "vm.h"
u64 program(u8 *mem, u64 len) {
    const u8 *a = mem, *b = mem + 2048;
    for (u32 i = 0; i < 1024; i++) {
        if (a[i] != b[i]) return a[i] < b[i] ? -1 : 1;
        if (!a[i]) return 1000 - i;
    }
    return 2;
}
#ifndef __bpf__
void prepare(u8 *mem) {
    scramble(mem, MEMORY);
    for (u32 i = 0; i < 1000; i++) mem[2048 + i] = mem[i] |= 1;
    mem[1000] = mem[3048] = 0;
}
#endif
