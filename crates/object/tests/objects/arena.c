/* Variables in an arena. */
#include "bpf.h"

#define __arena __attribute__((address_space(1)))

struct {
	__uint(type, BPF_MAP_TYPE_ARENA);
	__uint(map_flags, 1 << 10);
	__uint(max_entries, 10);
	__ulong(map_extra, 0x100000000000);
} arena SEC(".maps");

int __arena counter = 3;
u64 __arena sum;

SEC("syscall")
int uses(void *context)
{
	counter++;
	sum += counter;
	return 0;
}
