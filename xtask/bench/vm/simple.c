/* Nothing: what entering and leaving costs. */
#include "vm.h"
u64 program(u8 *mem, u64 len) { return 0; }
#ifndef __bpf__
void prepare(u8 *mem) { scramble(mem, MEMORY); }
#endif
