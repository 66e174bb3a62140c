// What functions of the kernel want. Compiled as memory.c.
#include "bpf.h"
#define KFUNC extern __attribute__((section(".ksyms")))

char _license[] SEC("license") = "GPL";

struct bpf_dynptr { __u64 __opaque[2]; };
struct bpf_iter_num { __u64 __opaque[1]; } __attribute__((aligned(8)));

KFUNC void bpf_rcu_read_unlock(void);
KFUNC void bpf_local_irq_save(unsigned long *flags);
KFUNC void bpf_local_irq_restore(unsigned long *flags);
KFUNC int bpf_iter_num_new(struct bpf_iter_num *it, int start, int end);
KFUNC int *bpf_iter_num_next(struct bpf_iter_num *it);
KFUNC void bpf_iter_num_destroy(struct bpf_iter_num *it);
KFUNC int bpf_dynptr_from_xdp(struct xdp_md *ctx, __u64 flags, struct bpf_dynptr *dynptr);

SEC("tc")
int rcu_not_open(void *ctx)
{
	bpf_rcu_read_unlock();
	return 0;
}

SEC("tc")
int interrupts_off(void *ctx)
{
	unsigned long flags;

	bpf_local_irq_save(&flags);
	if (bpf_get_prandom_u32() & 1)
		return 1;
	bpf_local_irq_restore(&flags);
	return 0;
}

SEC("tc")
int iterator_not_started(void *ctx)
{
	struct bpf_iter_num it = {};

	return bpf_iter_num_next(&it) != 0;
}

SEC("tc")
int iterator_not_ended(void *ctx)
{
	struct bpf_iter_num it;

	bpf_iter_num_new(&it, 0, 5);
	return bpf_iter_num_next(&it) != 0;
}

SEC("tc")
int function_of_another_type(void *ctx)
{
	struct bpf_dynptr dynptr;

	return bpf_dynptr_from_xdp(ctx, 0, &dynptr);
}
