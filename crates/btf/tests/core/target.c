// The types of the target.

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long u64;
typedef signed int s32;

struct other_kind;

struct moved {
	long second;
	union {
		struct {
			u16 pad;
			struct {
				u16 other;
				struct {
					int deep;
					char inner;
				};
			};
		};
		long filler[4];
	};
	const volatile int first;
	char name[24];
	struct point {
		long y;
		int x;
	} grid[3][2];
	u16 narrower;
	u64 wider;
	long signed_wider;
	const void *const pointer;
	int retyped;
};

struct bits {
	u64 lead : 20;
	u64 a : 4;
	u64 b : 40;
	int c;
	u16 d : 9;
	u16 whole : 3;
};

struct flexible {
	long len;
	struct moved items[0];
};

struct ambiguous {
	int a, b;
};
struct ambiguous___second {
	int a;
	long b;
	int only_in_one;
};

struct twice {
	long pad;
	int a;
};
struct twice___again {
	int pad[2];
	int a;
};
struct twice___without {
	int b;
};

union choice {
	u64 number;
	char text[16];
};

enum colour { NEW, RED, GREEN = 50, BLUE = 70 };
enum big { BIG = 0x210fedcba987ULL, SMALL = 1 };
enum negative { MINUS = -30, PLUS = 30 };
enum narrow { NARROW_TOP = 0xffffffe0U };

typedef long (*callback)(struct moved *, u32, char *);
typedef int (*other_callback)(struct moved *);
typedef struct moved moved_alias;
typedef struct {
	char pad;
	int in_typedef;
} anonymous_alias;
typedef s32 just_a_number;
typedef int array_alias[6];

struct matching {
	u8 list[4];
	int more;
	int a;
	enum shade { RED___m, PURPLE } colour;
	struct moved *by_pointer;
	int (*call)(struct moved *, int, const char *);
};

struct all {
	struct moved moved;
	struct bits bits;
	struct ambiguous ambiguous;
	struct ambiguous___second ambiguous___second;
	struct twice twice;
	struct twice___again twice___again;
	struct twice___without twice___without;
	union choice choice;
	enum colour colour;
	enum big big;
	enum negative negative;
	enum narrow narrow;
	callback callback;
	other_callback other_callback;
	moved_alias moved_alias;
	anonymous_alias anonymous_alias;
	just_a_number just_a_number;
	array_alias array_alias;
	struct matching matching;
	struct flexible flexible;
} all;
