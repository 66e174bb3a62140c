/* Two matrices of 8 by 8 multiplied. */
#include "vm.h"
u64 program(u8 *mem, u64 len) {
    const u32(*a)[8] = (void *)mem, (*b)[8] = (void *)(mem + 256);
    u32(*c)[8] = (void *)(mem + 512);
    for (u32 i = 0; i < 8; i++) {
        for (u32 j = 0; j < 8; j++) {
            u32 sum = 0;
            for (u32 k = 0; k < 8; k++) sum += a[i][k] * b[k][j];
            c[i][j] = sum;
        }
    }
    return c[3][5] ^ c[7][7];
}
#ifndef __bpf__
void prepare(u8 *mem) { scramble(mem, MEMORY); }
#endif
