// Constants set before, variables read after, data of every section.
#include "bpf.h"

const volatile u32 limit = 1;
const char text[] = "constant";
u64 hits = 40;
u64 zero;
u32 custom SEC(".data.custom") = 5;

SEC("syscall")
int entry(void *ctx)
{
	hits += limit;
	zero = 7;
	return hits + text[0] + custom;
}

// set limit = 2
// run entry -> 146
// variable hits = 42
// variable zero = 7
// run entry -> 148
// write custom = 6
// run entry -> 151
