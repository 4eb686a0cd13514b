/* `which` is weak here and in the program: one definition must serve both. */
__attribute__((weak)) const char *which(void) { return "library"; }

const char *library_which(void) { return which(); }

int optional(void) { return 7; }

int needed(void) { return 1; }
