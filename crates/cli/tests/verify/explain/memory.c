// Accesses that are refused. Compiled, here, with clang-19 -O2 -g -target bpf -mcpu=v3 -w -c
// -ffile-prefix-map=$PWD/= -fdebug-compilation-dir=.
#include "bpf.h"

struct { MAP(type, HASH); MAP(max_entries, 16); __type(key, __u32); __type(value, __u64); } counts SEC(".maps");

char _license[] SEC("license") = "GPL";

struct table { __u64 cells[64]; };
struct { MAP(type, ARRAY); MAP(max_entries, 1); __type(key, __u32); __type(value, struct table); } tables SEC(".maps");

struct ether { __u8 dst[6], src[6]; __u16 proto; };
struct ip { __u8 head[12]; __u32 saddr, daddr; };

SEC("xdp")
int map_value_null(struct xdp_md *ctx)
{
	__u32 key = 1;
	__u64 *v = bpf_map_lookup_elem(&counts, &key);
	*v += 1;
	return 2;
}

SEC("xdp")
int map_value_bounds(struct xdp_md *ctx)
{
	__u32 key = 0;
	struct table *t = bpf_map_lookup_elem(&tables, &key);
	if (!t)
		return 0;
	__u64 i = bpf_get_prandom_u32();
	if (i > 64)
		return 0;
	return t->cells[i];
}

SEC("xdp")
int map_value_unbounded(struct xdp_md *ctx)
{
	__u32 key = 0;
	struct table *t = bpf_map_lookup_elem(&tables, &key);
	if (!t)
		return 0;
	__u32 i = bpf_get_prandom_u32();
	return t->cells[i];
}

SEC("xdp")
int map_value_negative(struct xdp_md *ctx)
{
	__u32 key = 0;
	struct table *t = bpf_map_lookup_elem(&tables, &key);
	if (!t)
		return 0;
	__s64 i = ctx->rx_queue_index;
	i -= 8;
	if (i > 63)
		return 0;
	return t->cells[i];
}

SEC("xdp")
int packet_bounds(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data;
	void *data_end = (void *)(long)ctx->data_end;
	struct ether *eth = data;
	if (data + sizeof(*eth) > data_end)
		return 2;
	if (eth->proto != 8)
		return 2;
	struct ip *ip = data + sizeof(*eth);
	return ip->saddr == 0x0100007f ? 1 : 2;
}

SEC("xdp")
int packet_unchecked(struct xdp_md *ctx)
{
	struct ether *eth = (void *)(long)ctx->data;
	return eth->proto;
}

SEC("xdp")
int packet_moved(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data;
	void *data_end = (void *)(long)ctx->data_end;
	struct ether *eth = data;
	if (data + sizeof(*eth) > data_end)
		return 2;
	bpf_xdp_adjust_head(ctx, -8);
	return eth->proto;
}

SEC("xdp")
int not_a_pointer(struct xdp_md *ctx)
{
	__u64 address = bpf_get_prandom_u32();
	__u32 *p = (__u32 *)address;
	return *p;
}

SEC("xdp")
int context_field(struct xdp_md *ctx)
{
	return *(__u32 *)((void *)ctx + 64);
}

SEC("xdp")
int read_only(struct xdp_md *ctx)
{
	ctx->data = 0;
	return 2;
}

SEC("xdp")
int stack_bounds(struct xdp_md *ctx)
{
	__u8 buffer[8] = {};
	__u32 i = bpf_get_prandom_u32() & 15;
	asm volatile("" ::"r"(buffer) : "memory");
	return buffer[i];
}

SEC("tracepoint/syscalls/sys_enter_openat")
int size_unbounded(void *ctx)
{
	char buffer[32] = {};
	__s32 size = bpf_get_prandom_u32();
	bpf_probe_read_user(buffer, size, ctx);
	return 0;
}

SEC("tracepoint/syscalls/sys_enter_openat")
int size_zero(void *ctx)
{
	char buffer[32] = {};
	__u32 size = bpf_get_prandom_u32() & 31;
	asm volatile("" : "+r"(size));
	bpf_perf_event_output(ctx, &events, 0, buffer, size & 31);
	return 0;
}

SEC("tracepoint/syscalls/sys_enter_openat")
int argument_type(void *ctx)
{
	return bpf_map_lookup_elem(&counts, (void *)8) != 0;
}

SEC("xdp")
int pointer_arithmetic(struct xdp_md *ctx)
{
	__u64 p = (__u64)ctx;
	asm volatile("%0 *= 2" : "+r"(p));
	return p;
}
