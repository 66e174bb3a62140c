/* 64 look-ups in a hash map, each with an addition to what was found. */
#include "vm.h"
u64 program(u8 *mem, u64 len) {
    u64 found = 0;
    for (u32 i = 0; i < 64; i++) {
        u32 key = i * 7 + 1;
        u64 *value = lookup(mem, &key);
        if (value) *value += key, found++;
    }
    return found;
}
#ifndef __bpf__
void prepare(u8 *mem) {
    struct table *table = (void *)mem;
    for (u64 i = 0; i < MEMORY; i++) mem[i] = 0;
    for (u32 i = 0; i < 96; i++) {
        u32 key = i * 7 + 1, at = place_of(key);
        if (i % 3 == 2) continue;
        while (table->places[at].key) at = (at + 1) % 256;
        table->places[at].key = key;
    }
}
#endif
