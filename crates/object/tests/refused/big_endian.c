/* clang: -O2 -g -target bpfeb */
int f(void)
{
	return 0;
}
