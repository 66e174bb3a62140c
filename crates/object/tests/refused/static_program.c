#include "../objects/bpf.h"

SEC("xdp")
static int program(void *context)
{
	return 0;
}
