int shared[8];
int total;
int *inside = &shared[5];

/* The difference is taken from the symbol's GOT entry. */
int place(void) { return inside - shared; }
int is_total(int *p) { return p == &total; }
