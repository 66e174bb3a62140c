// What a program was compiled with. Each statement of a program leaves one relocation.

#define SEC(name) __attribute__((section(name), used))
#define RELOCATED __attribute__((preserve_access_index))

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long u64;
typedef signed int s32;

enum field { OFFSET, SIZE, EXISTS, SIGNED, LSHIFT, RSHIFT };
#define field(what, access) (*out = __builtin_preserve_field_info(access, what))
enum type { TYPE_EXISTS, TYPE_SIZE, TYPE_MATCHES };
#define type(what, t) (*out = __builtin_preserve_type_info(*(t *)0, what))
#define value_exists(t, v) (*out = __builtin_preserve_enum_value(*(t *)v, 0))
#define value(t, v) (*out = __builtin_preserve_enum_value(*(t *)v, 1))
#define local_id(t) (*out = __builtin_btf_type_id(*(t *)0, 0))
#define target_id(t) (*out = __builtin_btf_type_id(*(t *)0, 1))

// Members in another order, nested in anonymous ones, of other width, missing.
struct moved {
	int first;
	long second;
	struct {
		char inner;
		union {
			int deep;
			u16 other;
		};
	};
	char name[16];
	struct {
		int x, y;
	} grid[4][2];
	u32 narrower;
	u32 wider;
	s32 signed_wider;
	void *pointer;
	int gone;
	struct other_kind *retyped;
} RELOCATED;

struct moved___flavored {
	int gone_in_local;
	char name[16];
} RELOCATED;

struct moved___wrong {
	struct {
		int a;
	} name;
} RELOCATED;

struct bits {
	u32 a : 3;
	u32 b : 7;
	s32 c : 5;
	u64 : 0;
	u64 d : 30;
	u8 whole;
} RELOCATED;

struct flexible {
	int len;
	struct moved items[];
} RELOCATED;

struct missing {
	int field;
} RELOCATED;

struct ambiguous {
	int a, b;
	int only_in_one;
} RELOCATED;

struct twice___agreed {
	int a, b;
} RELOCATED;

union choice {
	int number;
	char text[8];
} RELOCATED;

enum colour { RED, GREEN = 5, BLUE___local = 7, GONE = 9 };
enum big { BIG = 0x123456789abcULL, SMALL = 1 };
enum negative { MINUS = -3, PLUS = 3 };
enum narrow { NARROW_TOP = 0xfffffff0U };
enum nowhere { NOWHERE = 1 };

typedef int (*callback)(struct moved *, int, const char *);
typedef int (*other_callback)(struct moved *, long long);
typedef struct moved moved_alias;
typedef struct {
	int in_typedef;
	int missing_in_typedef;
} RELOCATED anonymous_alias;
typedef u32 just_a_number;
typedef int array_alias[4];

struct matching {
	int a;
	struct moved *by_pointer;
	callback call;
	enum shade { RED___m } colour;
	u8 list[4];
};
struct matching___more {
	int a;
	int not_there;
};
struct matching___size {
	long a;
};

SEC("raw_tp/fields") int fields(volatile u64 *out)
{
	struct moved *p = (void *)out;
	struct moved___flavored *f = (void *)out;
	struct moved___wrong *w = (void *)out;
	field(OFFSET, p->first);
	field(OFFSET, p->second);
	field(OFFSET, p->inner);
	field(OFFSET, p->deep);
	field(OFFSET, p->name);
	field(OFFSET, p->name[3]);
	field(SIZE, p->name);
	field(SIZE, p->name[3]);
	field(OFFSET, p->grid[1][1].y);
	field(OFFSET, p->grid[2]);
	field(OFFSET, p[1].second);
	field(SIZE, p->wider);
	field(SIGNED, p->first);
	field(SIGNED, p->wider);
	field(LSHIFT, p->narrower);
	field(RSHIFT, p->narrower);
	field(EXISTS, p->first);
	field(EXISTS, p->gone);
	field(EXISTS, p->retyped);
	field(OFFSET, f->name[7]);
	field(EXISTS, f->gone_in_local);
	field(EXISTS, w->name);
	field(EXISTS, w->name.a);
	return 0;
}

SEC("raw_tp/missing") int missing(volatile u64 *out)
{
	struct moved *p = (void *)out;
	struct missing *m = (void *)out;
	field(OFFSET, p->gone);
	field(OFFSET, p->retyped);
	field(SIZE, m->field);
	field(EXISTS, m->field);
	field(OFFSET, p->grid[3][1].x);
	value(enum colour, GONE);
	value(enum nowhere, NOWHERE);
	return 0;
}

SEC("raw_tp/loads") int loads(volatile u64 *out)
{
	struct moved *p = (void *)out;
	union choice *c = (void *)out;
	struct flexible *f = (void *)out;
	volatile struct moved *v = (void *)out;
	*out = p->first;
	*out = p->second;
	*out = p->narrower;
	*out = p->wider;
	*out = p->signed_wider;
	*out = (u64)p->pointer;
	*out = p->gone;
	*out = c->number;
	*out = c->text[3];
	*out = f->items[2].first;
	*out = p->grid[1][0].x;
	v->first = 3;
	v->wider = *out;
	v->deep = 4;
	return 0;
}

SEC("raw_tp/bits") int bits(volatile u64 *out)
{
	struct bits *p = (void *)out;
#define all(m) field(OFFSET, p->m); field(SIZE, p->m); field(SIGNED, p->m); \
	field(LSHIFT, p->m); field(RSHIFT, p->m); field(EXISTS, p->m)
	all(a);
	all(b);
	all(c);
	all(d);
	all(whole);
	return 0;
}

SEC("raw_tp/types") int types(volatile u64 *out)
{
	type(TYPE_EXISTS, struct moved);
	type(TYPE_EXISTS, struct missing);
	type(TYPE_SIZE, struct moved);
	type(TYPE_SIZE, struct missing);
	type(TYPE_SIZE, array_alias);
	type(TYPE_EXISTS, union choice);
	type(TYPE_EXISTS, enum colour);
	type(TYPE_EXISTS, moved_alias);
	type(TYPE_EXISTS, anonymous_alias);
	type(TYPE_EXISTS, just_a_number);
	type(TYPE_EXISTS, callback);
	type(TYPE_EXISTS, other_callback);
	type(TYPE_MATCHES, struct matching);
	type(TYPE_MATCHES, struct matching___more);
	type(TYPE_MATCHES, struct matching___size);
	type(TYPE_MATCHES, enum colour);
	type(TYPE_MATCHES, enum negative);
	type(TYPE_MATCHES, callback);
	type(TYPE_MATCHES, other_callback);
	type(TYPE_MATCHES, struct moved);
	local_id(struct moved);
	local_id(struct missing);
	target_id(struct moved);
	target_id(struct missing);
	return 0;
}

SEC("raw_tp/values") int values(volatile u64 *out)
{
	value(enum colour, RED);
	value(enum colour, GREEN);
	value(enum colour, BLUE___local);
	value_exists(enum colour, BLUE___local);
	value_exists(enum colour, GONE);
	value_exists(enum nowhere, NOWHERE);
	value(enum big, BIG);
	value(enum big, SMALL);
	value(enum negative, MINUS);
	return 0;
}

// libbpf takes 32-bit values for signed and finds another number in the instruction.
SEC("raw_tp/unsigned_value") int unsigned_value(volatile u64 *out)
{
	value(enum narrow, NARROW_TOP);
	return 0;
}

SEC("raw_tp/agreed") int agreed(volatile u64 *out)
{
	struct twice___agreed *t = (void *)out;
	anonymous_alias *a = (void *)out;
	field(OFFSET, t->a);
	field(OFFSET, a->in_typedef);
	field(EXISTS, a->missing_in_typedef);
	return 0;
}

SEC("raw_tp/disagreed") int disagreed(volatile u64 *out)
{
	struct ambiguous *p = (void *)out;
	field(OFFSET, p->b);
	return 0;
}

SEC("raw_tp/narrowed") int narrowed(volatile u64 *out)
{
	struct ambiguous *p = (void *)out;
	struct twice___agreed *t = (void *)out;
	// Both have it; from here on both are asked.
	field(OFFSET, p->a);
	// Only one of them has it; from here on only that one is asked.
	field(EXISTS, p->only_in_one);
	field(SIZE, p->b);
	field(EXISTS, t->b);
	field(EXISTS, t->a);
	return 0;
}

char licence[] SEC("license") = "GPL";
