/* An Ethernet, IPv4 and TCP header, with options, and a table of ports. */
#include "vm.h"
static inline u16 be16(const u8 *at) { return at[0] << 8 | at[1]; }
u64 program(u8 *mem, u64 len) {
    u8 *end = mem + 1500, *at = mem;
    u16 type = be16(at + 12);
    at += 14;
    for (int i = 0; i < 2; i++) {
        if (type != 0x8100 && type != 0x88a8) break;
        if (at + 4 > end) return 2;
        type = be16(at + 2);
        at += 4;
    }
    if (type != 0x0800 || at + 20 > end) return 3;
    u32 header = (at[0] & 15) * 4;
    if (at[0] >> 4 != 4 || header < 20 || at + header > end) return 4;
    if (be16(at + 6) & 0x1fff) return 5;
    u32 source = *(u32 *)(at + 12), target = *(u32 *)(at + 16);
    u8 protocol = at[9];
    at += header;
    if (protocol != 6 || at + 20 > end) return 6;
    u16 from = be16(at), to = be16(at + 2);
    u32 hash = source ^ target ^ (u32)from << 16 ^ to;
    hash ^= hash >> 16, hash *= 0x85ebca6b, hash ^= hash >> 13;
    u16 *ports = (u16 *)(mem + 2048);
    for (int i = 0; i < 8; i++)
        if (ports[i] == to) return (u64)hash << 8 | i;
    return hash;
}
#ifndef __bpf__
void prepare(u8 *mem) {
    static const u8 start[] = {0x45, 0, 5, 0xb0, 0, 1, 0x40, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2,
                               0x9c, 0x40, 0, 80};
    scramble(mem, MEMORY);
    mem[12] = 0x81, mem[13] = 0, mem[16] = 8, mem[17] = 0;
    for (unsigned i = 0; i < sizeof(start); i++) mem[18 + i] = start[i];
    ((u16 *)(mem + 2048))[6] = 80;
}
#endif
