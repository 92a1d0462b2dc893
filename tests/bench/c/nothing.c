/* Nothing: what the start and the end of a process cost by themselves.
 * Used by: the benchmark. */
int main(void) { return 0; }
