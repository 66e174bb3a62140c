/* CRC-32 of 1 KiB by a table. */
#include "vm.h"
u64 program(u8 *mem, u64 len) {
    const u32 *table = (const u32 *)(mem + 4096);
    u32 crc = ~0u;
    for (u32 i = 0; i < 1024; i++) crc = table[(crc ^ mem[i]) & 255] ^ crc >> 8;
    return ~crc;
}
#ifndef __bpf__
void prepare(u8 *mem) {
    u32 *table = (u32 *)(mem + 4096);
    scramble(mem, MEMORY);
    for (u32 i = 0; i < 256; i++) {
        u32 crc = i;
        for (int bit = 0; bit < 8; bit++) crc = crc & 1 ? crc >> 1 ^ 0xedb88320 : crc >> 1;
        table[i] = crc;
    }
}
#endif
