// Not under the GPL. Compiled as memory.c.
#include "bpf.h"

char _license[] SEC("license") = "Proprietary";

SEC("xdp")
int gpl_only(void *ctx)
{
	char buffer[8] = {};
	return bpf_probe_read_user(buffer, 8, ctx) != 0;
}
