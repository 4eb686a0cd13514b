int shared[16]; /* the larger one counts */
int total;

void fill(void) {
	for (int i = 0; i < 16; i++)
		total += shared[i] = i;
}
