/* Structures of kernel callbacks. */
#include "bpf.h"

struct sock;

struct congestion_ops {
	u32 (*threshold)(struct sock *sk);
	void (*init)(struct sock *sk);
	u32 flags;
	char name[16];
};

SEC("struct_ops/threshold")
u32 threshold(u64 *context)
{
	return 2;
}

SEC("struct_ops.s/init")
int init(u64 *context)
{
	return 0;
}

SEC(".struct_ops")
struct congestion_ops by_map = {
	.threshold = (void *)threshold,
	.flags = 7,
	.name = "by_map",
};

SEC(".struct_ops.link")
struct congestion_ops by_link = {
	.threshold = (void *)threshold,
	.init = (void *)init,
	.name = "by_link",
};

SEC("?.struct_ops")
struct congestion_ops later = {
	.init = (void *)init,
};
