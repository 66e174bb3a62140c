#include "../objects/bpf.h"

SEC("xpd")
int program(void *context)
{
	return 0;
}
