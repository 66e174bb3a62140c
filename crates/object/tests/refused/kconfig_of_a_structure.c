#include "../objects/bpf.h"

extern struct { int a; } CONFIG_A __kconfig;

SEC("xdp")
int program(void *context)
{
	return CONFIG_A.a;
}
