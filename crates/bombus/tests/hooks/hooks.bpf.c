// A program for each hook that has to be told where it is. All count.
#include "bpf.h"

static long (*const perf_event_output)(void *ctx, void *map, u64 flags, void *data, u64 size) =
	(void *)25;
static long (*const dynptr_read)(void *to, u64 len, const void *from, u64 offset, u64 flags) =
	(void *)201;
static long (*const user_ringbuf_drain)(void *map, void *each, void *ctx, u64 flags) = (void *)209;

#define CURRENT_CPU 0xffffffffULL

struct {
	UINT(type, 15);
	UINT(max_entries, 4);
	TYPE(key, u32);
	TYPE(value, u32);
} sockets SEC(".maps");

struct {
	UINT(type, 31);
	UINT(max_entries, 4096);
} requests SEC(".maps");

struct {
	UINT(type, 4);
	UINT(key_size, 4);
	UINT(value_size, 4);
} reports SEC(".maps");

u64 count;
u64 sum;
u32 only;

static int counted(int verdict)
{
	__sync_fetch_and_add(&count, 1);
	return verdict;
}

SEC("?sk_msg")
int on_message(void *ctx)
{
	return counted(1);
}

SEC("?sk_lookup")
int on_lookup(void *ctx)
{
	return counted(1);
}

SEC("?flow_dissector")
int dissect(void *ctx)
{
	return counted(0);
}

SEC("?netfilter")
int on_input(void *ctx)
{
	return counted(1);
}

SEC("?tcx/ingress")
int on_ingress(void *ctx)
{
	return counted(-1);
}

SEC("?tcx/ingress")
int on_ingress_too(void *ctx)
{
	__sync_fetch_and_add(&sum, 1);
	return -1;
}

SEC("?netkit/primary")
int on_netkit(void *ctx)
{
	return counted(-1);
}

static long each(void *record, void *ctx)
{
	u64 value = 0;
	dynptr_read(&value, sizeof(value), record, 0, 0);
	sum += value;
	counted(0);
	return 0;
}

SEC("?raw_tp/sys_enter")
int drain(void *ctx)
{
	if (get_current_pid_tgid() >> 32 == only)
		user_ringbuf_drain(&requests, each, 0, 0);
	return 0;
}

SEC("?raw_tp/sys_enter")
int report(void *ctx)
{
	u64 number = count;
	if (get_current_pid_tgid() >> 32 == only &&
	    perf_event_output(ctx, &reports, CURRENT_CPU, &number, sizeof(number)) == 0)
		counted(0);
	return 0;
}
