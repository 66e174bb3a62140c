/* A handler of exceptions, which nothing calls. */
#include "bpf.h"

__noinline int other(u64 cookie)
{
	return cookie + 1;
}

__noinline int handler(u64 cookie)
{
	return cookie;
}

SEC("tc")
__attribute__((btf_decl_tag("exception_callback:handler")))
int throws(void *context)
{
	return other(0);
}
