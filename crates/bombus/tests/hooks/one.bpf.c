#include "bpf.h"

extern u64 calls;
extern int twice(int number);

SEC("syscall")
int entry(void *ctx)
{
	calls += 1;
	return twice(21);
}
