#include "../objects/bpf.h"

extern int elsewhere(int x);

SEC("xdp")
int program(void *context)
{
	return elsewhere(1);
}
