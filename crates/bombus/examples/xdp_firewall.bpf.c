/* Drops packets by where they come from and which port they go to. One rule book, three hooks: a
 * network device (XDP), traffic control, a cgroup. */
#include "bpf.h"

/* `struct xdp_md` and the start of `struct __sk_buff`. */
struct xdp_md {
	u32 data;
	u32 data_end;
};

struct ethernet {
	u8 destination[6];
	u8 source[6];
	u16 type;
} __attribute__((packed));

struct ipv4 {
	u8 version_and_length;
	u8 tos;
	u16 length;
	u16 id;
	u16 fragment;
	u8 ttl;
	u8 protocol;
	u16 checksum;
	u8 source[4];
	u8 destination[4];
} __attribute__((packed));

struct ports {
	u16 source;
	u16 destination;
};

struct network {
	u32 bits;
	u8 address[4];
};

/* Networks whose packets are dropped, each with how many were. */
struct {
	UINT(type, LPM_TRIE);
	UINT(max_entries, 1024);
	UINT(map_flags, NO_PREALLOC);
	TYPE(key, struct network);
	TYPE(value, u64);
} blocked SEC(".maps");

/* TCP and UDP ports (in network byte order) that packets to are dropped, each with how many were. */
struct {
	UINT(type, HASH);
	UINT(max_entries, 1024);
	TYPE(key, u16);
	TYPE(value, u64);
} blocked_ports SEC(".maps");

/* How many packets passed and how many were dropped, by CPU. */
struct {
	UINT(type, PERCPU_ARRAY);
	UINT(max_entries, 2);
	TYPE(key, u32);
	TYPE(value, u64);
} verdicts SEC(".maps");

enum { PASSED = 0, DROPPED = 1 };
enum { ETH_IPV4 = 0x0008, FRAGMENT_OFFSET = 0xff1f, TCP = 6, UDP = 17 };
enum { XDP_DROP = 1, XDP_PASS = 2, TC_OK = 0, TC_SHOT = 2 };

INLINE u32 verdict(u32 verdict)
{
	u64 *count = map_lookup(&verdicts, &verdict);
	if (count)
		*count += 1;
	return verdict;
}

INLINE u32 hit(u64 *rule)
{
	__sync_fetch_and_add(rule, 1);
	return DROPPED;
}

/* The ports count only where there are some: not in later fragments. */
INLINE u32 judge(const struct ipv4 *ip, const struct ports *ports)
{
	struct network from = {.bits = 32};
	__builtin_memcpy(from.address, ip->source, 4);
	u64 *rule = map_lookup(&blocked, &from);
	if (rule)
		return hit(rule);
	if (ports) {
		u16 port = ports->destination;
		rule = map_lookup(&blocked_ports, &port);
		if (rule)
			return hit(rule);
	}
	return PASSED;
}

INLINE int has_ports(const struct ipv4 *ip)
{
	return (ip->protocol == TCP || ip->protocol == UDP) && !(ip->fragment & FRAGMENT_OFFSET);
}

SEC("xdp")
int on_xdp(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct ethernet *eth = data;
	struct ipv4 *ip = (void *)(eth + 1);
	if ((void *)(ip + 1) > end || eth->type != ETH_IPV4)
		return verdict(PASSED), XDP_PASS;
	struct ports *ports = (void *)ip + (ip->version_and_length & 15) * 4;
	if (!has_ports(ip) || (void *)ports < (void *)(ip + 1) || (void *)(ports + 1) > end)
		ports = 0;
	return verdict(judge(ip, ports)) == DROPPED ? XDP_DROP : XDP_PASS;
}

/* A packet in a socket buffer, whose IP header starts at `offset`. */
INLINE u32 judge_buffer(void *skb, u32 offset)
{
	struct ipv4 ip;
	struct ports ports;
	if (skb_load_bytes(skb, offset, &ip, sizeof(ip)) || ip.version_and_length >> 4 != 4)
		return PASSED;
	u32 transport = offset + (ip.version_and_length & 15) * 4;
	if (has_ports(&ip) && !skb_load_bytes(skb, transport, &ports, sizeof(ports)))
		return judge(&ip, &ports);
	return judge(&ip, 0);
}

SEC("tc")
int on_tc(void *skb)
{
	struct ethernet eth;
	u32 result = PASSED;
	if (!skb_load_bytes(skb, 0, &eth, sizeof(eth)) && eth.type == ETH_IPV4)
		result = judge_buffer(skb, sizeof(eth));
	return verdict(result) == DROPPED ? TC_SHOT : TC_OK;
}

SEC("cgroup_skb/ingress")
int on_cgroup(void *skb)
{
	return verdict(judge_buffer(skb, 0)) == PASSED;
}
