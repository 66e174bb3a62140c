#include "../objects/bpf.h"

SEC("xdp")
__noinline int called(void *context)
{
	return (long)context;
}

SEC("tc")
int program(void *context)
{
	return called(context);
}
