// The other unit.

struct list {
	struct list *next, *prev;
};

struct only_declared_here {
	char y[8];
};
struct only_declared_there;

union number {
	int i;
	float f;
};

enum state { IDLE, BUSY };

typedef int (*handler)(struct list *, const char *);

struct node {
	struct list link;
	struct only_declared_here *here;
	struct only_declared_there *there;
	union number numbers[4];
	enum state state;
	handler handle;
	struct {
		const volatile long a;
		unsigned b : 3, c : 5;
	};
};

// Of the same name, and not the same.
struct differs {
	long more;
	int a;
};
struct holds_differs {
	struct differs *d;
};

// Known by what it points to, which is only declared in one unit, and the other way round.
struct right;
struct left {
	struct right *right;
};

struct node second;
struct holds_differs second_holder;
struct left second_left;
struct differs second_differs;
struct only_declared_here here;
