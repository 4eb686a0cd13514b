int printf(const char *format, ...);
const char *library_which(void);
int needed(void);
__attribute__((weak_import)) int optional(void);

__attribute__((weak)) const char *which(void) { return "main"; }

int main(void) {
    printf("which %s %s\n", which(), library_which());
    if (optional)
        printf("optional %d\n", optional());
    else
        printf("optional absent\n");
    return needed() - 1;
}
