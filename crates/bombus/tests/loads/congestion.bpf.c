// A structure of kernel callbacks, laid out as an older kernel has it.
#include "bpf.h"

struct sock;

struct tcp_congestion_ops {
	u32 (*ssthresh)(struct sock *sk);
	void (*no_such_callback)(struct sock *sk);
	u32 (*undo_cwnd)(struct sock *sk);
	void (*cong_avoid)(struct sock *sk, u32 ack, u32 acked);
	char name[16];
	u32 flags;
};

SEC("struct_ops/ssthresh")
u32 on_ssthresh(u64 *arguments)
{
	return 2;
}

SEC("struct_ops/undo_cwnd")
u32 on_undo_cwnd(u64 *arguments)
{
	return 3;
}

SEC("struct_ops/cong_avoid")
int on_cong_avoid(u64 *arguments)
{
	return 0;
}

SEC("?struct_ops/no_such_callback")
int on_nothing(u64 *arguments)
{
	return 0;
}

SEC(".struct_ops")
struct tcp_congestion_ops bombus_test = {
	.ssthresh = (void *)on_ssthresh,
	.undo_cwnd = (void *)on_undo_cwnd,
	.cong_avoid = (void *)on_cong_avoid,
	.no_such_callback = (void *)on_nothing,
	.name = "bombus_test",
};

// needs 6.1
// attach structure bombus_test
