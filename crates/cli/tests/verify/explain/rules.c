// What programs must give back, and what they may do. Compiled as memory.c.
#include "bpf.h"

struct { MAP(type, RINGBUF); MAP(max_entries, 4096); } records SEC(".maps");
struct locked { struct bpf_spin_lock lock; __u32 count; };
struct { MAP(type, ARRAY); MAP(max_entries, 1); __type(key, __u32); __type(value, struct locked); } guarded SEC(".maps");

char _license[] SEC("license") = "GPL";

extern void bpf_rcu_read_lock(void) __attribute__((section(".ksyms")));
extern void bpf_rcu_read_unlock(void) __attribute__((section(".ksyms")));
extern void bpf_preempt_disable(void) __attribute__((section(".ksyms")));
extern void bpf_preempt_enable(void) __attribute__((section(".ksyms")));

SEC("tracepoint/syscalls/sys_enter_openat")
int reference_leak(void *ctx)
{
	__u64 *record = bpf_ringbuf_reserve(&records, 8, 0);
	if (!record)
		return 0;
	*record = bpf_ktime_get_ns();
	if (*record & 1)
		return 1;
	bpf_ringbuf_submit(record, 0);
	return 0;
}

SEC("tc")
int socket_leak(void *ctx)
{
	struct bpf_sock_tuple tuple = {};
	void *sock = bpf_sk_lookup_tcp(ctx, &tuple, sizeof(tuple), 0, 0);
	return sock != 0;
}

SEC("tc")
int double_release(void *ctx)
{
	struct bpf_sock_tuple tuple = {};
	void *sock = bpf_sk_lookup_tcp(ctx, &tuple, sizeof(tuple), 0, 0);
	if (!sock)
		return 0;
	bpf_sk_release(sock);
	bpf_sk_release(sock);
	return 0;
}

SEC("tc")
int lock_held(void *ctx)
{
	__u32 key = 0;
	struct locked *entry = bpf_map_lookup_elem(&guarded, &key);
	if (!entry)
		return 0;
	bpf_spin_lock(&entry->lock);
	if (entry->count > 10)
		return 1;
	entry->count++;
	bpf_spin_unlock(&entry->lock);
	return 0;
}

SEC("tc")
int call_in_lock(void *ctx)
{
	__u32 key = 0;
	struct locked *entry = bpf_map_lookup_elem(&guarded, &key);
	if (!entry)
		return 0;
	bpf_spin_lock(&entry->lock);
	entry->count = bpf_get_prandom_u32();
	bpf_spin_unlock(&entry->lock);
	return 0;
}

SEC("tc")
int rcu_held(void *ctx)
{
	bpf_rcu_read_lock();
	if (bpf_get_prandom_u32() & 1)
		return 1;
	bpf_rcu_read_unlock();
	return 0;
}

SEC("tc")
int preemption_off(void *ctx)
{
	bpf_preempt_disable();
	if (bpf_get_prandom_u32() & 1)
		return 1;
	bpf_preempt_enable();
	return 0;
}

SEC("cgroup/sock_create")
int return_range(void *ctx)
{
	return bpf_get_prandom_u32();
}

SEC("xdp")
__attribute__((naked)) int return_missing(void *ctx)
{
	asm volatile("exit");
}

SEC("xdp")
int endless(void *ctx)
{
	for (;;)
		asm volatile("");
}

SEC("xdp")
int too_long(void *ctx)
{
	__u32 n = bpf_get_prandom_u32(), sum = 0;
	for (__u32 i = 0; i < n; i++)
		sum += bpf_get_prandom_u32();
	return sum & 1;
}

SEC("tracepoint/syscalls/sys_enter_openat")
int helper_not_here(void *ctx)
{
	return bpf_xdp_adjust_head(ctx, 4);
}

SEC("fentry/do_unlinkat")
int sleeps(void *ctx)
{
	char buffer[8] = {};
	bpf_copy_from_user(buffer, 8, ctx);
	return 0;
}

SEC("fentry.s/do_unlinkat")
int sleeps_in_rcu(void *ctx)
{
	char buffer[8] = {};
	bpf_rcu_read_lock();
	bpf_copy_from_user(buffer, 8, ctx);
	bpf_rcu_read_unlock();
	return 0;
}

SEC("tc")
int stack_too_deep(void *ctx)
{
	volatile char large[504] = {};
	large[1] = 2;
	asm volatile("r1 = 0; *(u64 *)(r10 - 520) = r1" ::: "r1", "memory");
	return large[1];
}

SEC("xdp")
int misaligned(struct xdp_md *ctx)
{
	return *(__u32 *)((void *)ctx + 2);
}

SEC("tc")
int lock_not_taken(void *ctx)
{
	__u32 key = 0;
	struct locked *entry = bpf_map_lookup_elem(&guarded, &key);
	if (entry)
		bpf_spin_unlock(&entry->lock);
	return 0;
}

SEC("tc")
int lock_written(void *ctx)
{
	__u32 key = 0;
	struct locked *entry = bpf_map_lookup_elem(&guarded, &key);
	if (entry)
		entry->lock.value = 1;
	return 0;
}

SEC("tc")
int wrong_map(void *ctx)
{
	__u32 key = 0;
	return bpf_map_lookup_elem(&records, &key) != 0;
}

SEC("tc")
int socket_null(void *ctx)
{
	struct bpf_sock_tuple tuple = {};
	void *sock = bpf_sk_lookup_tcp(ctx, &tuple, sizeof(tuple), 0, 0);
	bpf_sk_release(sock);
	return 0;
}

const volatile __u32 limit = 4;

SEC("tc")
int constant_written(void *ctx)
{
	*(volatile __u32 *)&limit = 5;
	return 0;
}

SEC("tc")
__attribute__((naked)) int unreachable(void *ctx)
{
	asm volatile("r0 = 0; exit; r0 = 1; exit");
}

SEC("tc")
__attribute__((naked)) int falls_off(void *ctx)
{
	asm volatile("r0 = 0");
}

SEC("tc")
__attribute__((naked)) int division(void *ctx)
{
	asm volatile("r0 = 8; r0 /= 0; exit");
}

SEC("tc")
__attribute__((naked)) int call_spoils(void *ctx)
{
	asm volatile("r1 = 5; call 5; r0 = r1; exit");
}

SEC("tc")
int dynptr_unset(void *ctx)
{
	__u64 dynptr[2] = {}, value = 0;
	return bpf_dynptr_read(&value, 8, dynptr, 0, 0);
}

SEC("tc")
int packet_end(struct __sk_buff *ctx)
{
	return *(__u8 *)(long)ctx->data_end;
}
