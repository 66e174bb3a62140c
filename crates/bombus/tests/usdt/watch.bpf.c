// Writes down who hits a static probe, and with which arguments. The map of descriptions is what
// <bpf/usdt.bpf.h> of libbpf 1.7 has; older ones know no index registers (OLD).
#include "bpf.h"

static long (*const probe_read_kernel)(void *to, u32 size, const void *from) = (void *)113;
static long (*const probe_read_user)(void *to, u32 size, const void *from) = (void *)112;
static u64 (*const get_attach_cookie)(void *ctx) = (void *)174;

enum { CONSTANT, REGISTER, MEMORY, INDEXED };

struct argument {
	u64 offset;
#ifdef OLD
	u32 kind;
#else
	u8 kind, : 8;
	u16 index : 12, shift : 4;
	u16 : 16;
#endif
	u16 reg;
	u8 is_signed;
	u8 bits;
};

struct description {
	struct argument arguments[12];
	u64 cookie;
	u16 count;
};

struct {
	UINT(type, ARRAY);
	UINT(max_entries, 16);
	TYPE(key, int);
	TYPE(value, struct description);
} __bpf_usdt_specs SEC(".maps");

struct hit {
	u64 cookie, count, arguments[4];
};

struct hit hits[8];
u32 count;

static u64 word(const void *ctx, u32 reg)
{
	u64 value = 0;
	probe_read_kernel(&value, sizeof(value), ctx + reg);
	return value;
}

static u64 value_of(const void *ctx, const struct argument *argument)
{
	u64 value = argument->offset;
	if (argument->kind == REGISTER) {
		value = word(ctx, argument->reg);
	} else if (argument->kind != CONSTANT) {
		u64 address = value + word(ctx, argument->reg);
#ifndef OLD
		if (argument->kind == INDEXED)
			address += word(ctx, argument->index) << argument->shift;
#endif
		value = 0;
		probe_read_user(&value, sizeof(value), (void *)address);
	}
	value <<= argument->bits;
	return argument->is_signed ? (u64)((long long)value >> argument->bits) : value >> argument->bits;
}

static int watch(void *ctx)
{
	int number = get_attach_cookie(ctx);
	struct description *description = map_lookup(&__bpf_usdt_specs, &number);
	u32 place = count++;
	if (!description || place >= 8)
		return 0;
	struct hit *hit = &hits[place & 7];
	hit->cookie = description->cookie;
	hit->count = description->count;
	for (int i = 0; i < 4; i++)
		if (i < description->count)
			hit->arguments[i] = value_of(ctx, &description->arguments[i]);
	return 0;
}

SEC("?usdt")
int anywhere(void *ctx)
{
	return watch(ctx);
}

SEC("?usdt/" PROGRAM ":demo:watched")
int here(void *ctx)
{
	return watch(ctx);
}
