/* The Internet checksum of 1500 bytes. */
#include "vm.h"
u64 program(u8 *mem, u64 len) {
    u32 sum = 0;
    for (u32 i = 0; i < 1500; i += 2) sum += mem[i] << 8 | mem[i + 1];
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    return (u16)~sum;
}
#ifndef __bpf__
void prepare(u8 *mem) { scramble(mem, MEMORY); }
#endif
