/* Drops UDP packets to a port: those that come in as an XDP program, those that go out in traffic
 * control. What is dropped is told. */
#define SEC(name) __attribute__((section(name), used))
#define __uint(name, value) int (*name)[value]

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long u64;

enum { RINGBUF = 27 };
enum { XDP_DROP = 1, XDP_PASS = 2, XDP_TX = 3 };
enum { TC_ACT_OK = 0, TC_ACT_SHOT = 2 };

static long (*const bpf_ringbuf_output)(void *map, void *data, u64 size, u64 flags) = (void *)130;

struct xdp_md {
	u32 data;
	u32 data_end;
	u32 data_meta;
	u32 ingress_ifindex;
};

struct sk_buff {
	u32 len, pkt_type, mark, queue_mapping, protocol, vlan[3], priority;
	u32 ingress_ifindex, ifindex, tc_index, cb[5], hash, tc_classid;
	u32 data;
	u32 data_end;
};

/* Ethernet, IPv4 without options, UDP. */
struct datagram {
	u8 addresses[12];
	u16 type;
	u8 version;
	u8 tos;
	u16 rest[3];
	u8 ttl;
	u8 protocol;
	u16 checksum;
	u32 from, to;
	u16 source, destination;
} __attribute__((packed));

struct dropped {
	u16 port;
	u16 outgoing;
	u32 pkt_type;
};

struct {
	__uint(type, RINGBUF);
	__uint(max_entries, 4096);
} dropped SEC(".maps");

const volatile u16 incoming = 7;
const volatile u16 outgoing = 9;
/* Comes back to its sender. */
const volatile u16 echoed = 5;

static u16 port(u32 start, u32 end)
{
	struct datagram *datagram = (void *)(u64)start;
	if ((void *)(datagram + 1) > (void *)(u64)end)
		return 0;
	if (datagram->type != 0x0008 || datagram->version != 0x45 || datagram->protocol != 17)
		return 0;
	return __builtin_bswap16(datagram->destination);
}

SEC("xdp")
int receive(struct xdp_md *packet)
{
	u16 found = port(packet->data, packet->data_end);
	if (found && found == echoed)
		return XDP_TX;
	if (found != incoming)
		return XDP_PASS;
	struct dropped event = { found, 0, 0 };
	bpf_ringbuf_output(&dropped, &event, sizeof(event), 0);
	return XDP_DROP;
}

SEC("tc")
int transmit(struct sk_buff *packet)
{
	u16 found = port(packet->data, packet->data_end);
	if (found != outgoing)
		return TC_ACT_OK;
	struct dropped event = { found, 1, packet->pkt_type };
	bpf_ringbuf_output(&dropped, &event, sizeof(event), 0);
	return TC_ACT_SHOT;
}

char _license[] SEC("license") = "GPL";
