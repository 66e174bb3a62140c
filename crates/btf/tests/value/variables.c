// One variable of each kind of value.

enum colour { RED, GREEN = 5, MINUS = -2 };
enum wide { WIDE = 0x123456789abcULL };
typedef char letter;

struct point {
	short x;
	unsigned short y;
};

struct all {
	_Bool yes, no;
	char c, newline;
	signed char negative;
	unsigned char byte;
	int number;
	unsigned long large;
	long low;
	__int128 huge;
	enum colour colour, unknown;
	enum wide wide;
	char text[16];
	char binary[4];
	letter letters[4];
	unsigned char bytes[3];
	struct point points[2];
	struct {
		int first_bits : 3;
		unsigned more : 7;
		long many : 40;
	};
	union {
		int i;
		unsigned char first;
	} either;
	void *null, *pointer;
	const volatile int *const *deep;
	int grid[2][2];
	int none[0];
};

struct all value = {
	.yes = 1,
	.c = 'q',
	.newline = '\n',
	.negative = -7,
	.byte = 200,
	.number = -123456,
	.large = 0xfedcba9876543210UL,
	.low = -1,
	.huge = ((__int128)0x12 << 64) | 0x34,
	.colour = GREEN,
	.unknown = (enum colour)77,
	.wide = WIDE,
	.text = "it's \"text\"",
	.binary = { 1, 'a', 2, 'b' },
	.letters = "abc",
	.bytes = { 1, 2, 255 },
	.points = { { -1, 65535 }, { 3, 4 } },
	.first_bits = -2,
	.more = 99,
	.many = -5,
	.either = { .i = 258 },
	.pointer = (void *)0xffff888012345678UL,
	.grid = { { 1, 2 }, { 3, 4 } },
};

int counter = 42;

__attribute__((section("socket"), used)) int program(void *context)
{
	return counter + value.number;
}

char licence[] __attribute__((section("license"), used)) = "GPL";
