/* Asks for its own exported symbols by name and by address. */
#define RTLD_LAZY 1
#define RTLD_DEFAULT ((void *)-2)
#define RTLD_MAIN_ONLY ((void *)-5)

typedef struct {
    const char *dli_fname;
    void *dli_fbase;
    const char *dli_sname;
    void *dli_saddr;
} Dl_info;

int printf(const char *format, ...);
void *dlopen(const char *path, int mode);
void *dlsym(void *handle, const char *name);
int dladdr(const void *address, Dl_info *info);
char *dlerror(void);
char *strrchr(const char *text, int c);

__attribute__((visibility("default"))) int exported_value = 11;
__attribute__((visibility("default"))) int exported_function(int x) { return x * exported_value; }
static int hidden_function(int x) { return x + 1; }

int main(int argc, char **argv) {
    void *self = dlopen(0, RTLD_LAZY);
    int (*function)(int) = (int (*)(int))dlsym(self, "exported_function");
    printf("function %d\n", function ? function(3) : -1);
    printf("same %d\n", dlsym(RTLD_DEFAULT, "exported_function") == (void *)exported_function);
    int *value = dlsym(RTLD_MAIN_ONLY, "exported_value");
    printf("value %d\n", value ? *value : -1);
    printf("hidden %s\n", dlsym(self, "hidden_function") ? "found" : "absent");
    printf("error %d\n", dlerror() != 0);
    printf("error again %d\n", dlerror() != 0);
    int (*print)(const char *, ...) = (int (*)(const char *, ...))dlsym(RTLD_DEFAULT, "printf");
    print("printf by name\n");
    Dl_info info;
    int found = dladdr((char *)exported_function + 1, &info);
    printf("dladdr %d %s %d\n", found, info.dli_sname, info.dli_saddr == (void *)exported_function);
    found = dladdr((void *)1, &info);
    printf("nowhere %d\n", found);
    return hidden_function(-1);
}
