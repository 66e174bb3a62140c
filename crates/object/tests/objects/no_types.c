/* clang: -O2 -mcpu=v3 */
/* Without BTF: programs and variables, but nothing with a type. */
#include "bpf.h"

int counter = 1;
int zero;

static __noinline int add(int x, int y)
{
	return x + y;
}

SEC("xdp")
int uses(void *context)
{
	zero++;
	return add(counter, zero);
}
