// One unit of two that are linked.

struct list {
	struct list *next, *prev;
};

struct only_declared_here;
struct only_declared_there {
	int x;
	struct list entries;
};

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
	int a;
};
struct holds_differs {
	struct differs *d;
};

// Known by what it points to, which is only declared in one unit, and the other way round.
struct left;
struct right {
	struct left *left;
};

struct node first;
struct holds_differs first_holder;
struct right first_right;
struct differs first_differs;
struct only_declared_there there;
