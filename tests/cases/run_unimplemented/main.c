/* Calls a function of libSystem that the emulator does not have. */
extern void *acl_init(int count);

int outer(int count) { return acl_init(count) != 0; }

int main(int argc, char **argv) { return argc > 1 ? outer(argc) : 0; }
