#include "../objects/bpf.h"

int __attribute__((address_space(1))) variable = 3;

SEC("xdp")
int program(void *context)
{
	return variable++;
}
