#include "bpf.h"

SEC("xpd")
int program(void *context)
{
	return 0;
}

SEC("xdp")
int other(void *context)
{
	return 1;
}
