int puts(const char *text);

static int answer;

__attribute__((constructor)) static void load(void) {
    puts("plug loaded");
    answer = 42;
}

int plug(void) { return answer; }
