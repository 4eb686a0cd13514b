int printf(const char *format, ...);
int puts(const char *text);
void *dlopen(const char *path, int mode);
void *dlsym(void *handle, const char *name);

int main(void) {
    void *handle = dlopen("@rpath/libplug.dylib", 1);
    if (!handle)
        return 1;
    int (*plug)(void) = (int (*)(void))dlsym(handle, "plug");
    printf("plug %d\n", plug());
    if (!dlsym(handle, "plugged"))
        puts("no such symbol");
    if (!dlopen("@rpath/libother.dylib", 1))
        puts("no such file");
    return 0;
}
