/* Every change of a TCP connection's state. */
#include "bpf.h"

/* The record of the tracepoint, as /sys/kernel/tracing/events/sock/inet_sock_set_state/format has
 * it. */
struct inet_sock_set_state {
	u64 common;
	const void *skaddr;
	int old_state;
	int new_state;
	u16 source_port;
	u16 destination_port;
	u16 family;
	u16 protocol;
	u8 source[4];
	u8 destination[4];
	u8 source6[16];
	u8 destination6[16];
};

/* What user space gets. */
struct change {
	u64 time;
	u32 old_state;
	u32 new_state;
	u16 source_port;
	u16 destination_port;
	u16 family;
	u16 unused;
	u8 source[16];
	u8 destination[16];
};

struct {
	UINT(type, RINGBUF);
	UINT(max_entries, 256 * 1024);
} events SEC(".maps");

/* Changes that found the ring buffer full. */
u64 lost = 0;

enum { IPPROTO_TCP = 6, AF_INET6 = 10 };

SEC("tracepoint/sock/inet_sock_set_state")
int on_change(struct inet_sock_set_state *at)
{
	if (at->protocol != IPPROTO_TCP)
		return 0;
	struct change *change = ringbuf_reserve(&events, sizeof(*change), 0);
	if (!change) {
		__sync_fetch_and_add(&lost, 1);
		return 0;
	}
	change->time = ktime_get_ns();
	change->old_state = at->old_state;
	change->new_state = at->new_state;
	change->source_port = at->source_port;
	change->destination_port = at->destination_port;
	change->family = at->family;
	change->unused = 0;
	if (at->family == AF_INET6) {
		__builtin_memcpy(change->source, at->source6, 16);
		__builtin_memcpy(change->destination, at->destination6, 16);
	} else {
		__builtin_memset(change->source, 0, 16);
		__builtin_memset(change->destination, 0, 16);
		__builtin_memcpy(change->source, at->source, 4);
		__builtin_memcpy(change->destination, at->destination, 4);
	}
	ringbuf_submit(change, 0);
	return 0;
}
