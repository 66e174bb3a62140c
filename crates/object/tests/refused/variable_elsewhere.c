#include "../objects/bpf.h"

int variable SEC("mine") = 3;

SEC("xdp")
int program(void *context)
{
	return variable++;
}
