/* Formats of printf and scanf whose result is the same on every system. */
#include <float.h>
#include <limits.h>
#include <math.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <wchar.h>

static int forward(const char *format, ...) {
    char buffer[256];
    va_list list;
    va_start(list, format);
    int n = vsnprintf(buffer, sizeof buffer, format, list);
    va_end(list);
    return printf("%d<%s>\n", n, buffer);
}

static void integers(void) {
    static const char *formats[] = {"%d",   "%5d",   "%-5d|", "%05d",  "%+d",  "% d",   "%.3d", "%8.3d",
                                    "%-8.3d|", "%+.0d", "%i",    "%'d",   "%+05d", "%.0d",  "%3d",  "%-+6d|"};
    static const int values[] = {0, 1, -1, 42, -12345, INT_MAX, INT_MIN};
    for (size_t f = 0; f < sizeof formats / sizeof *formats; f++) {
        printf("%s:", formats[f]);
        for (size_t v = 0; v < sizeof values / sizeof *values; v++) {
            printf(" [");
            printf(formats[f], values[v]);
            printf("]");
        }
        printf("\n");
    }
    static const char *bases[] = {"%u", "%x", "%X", "%o", "%#x", "%#X", "%#o", "%08x", "%#010x", "%.5x", "%-8o|", "%#.0x"};
    for (size_t f = 0; f < sizeof bases / sizeof *bases; f++) {
        printf("%s:", bases[f]);
        for (size_t v = 0; v < sizeof values / sizeof *values; v++) {
            printf(" ");
            printf(bases[f], (unsigned)values[v]);
        }
        printf("\n");
    }
    printf("%hhd %hd %ld %lld %jd %zu %td\n", (signed char)-3, (short)-300, LONG_MIN, LLONG_MAX,
           (intmax_t)-7, (size_t)9, (ptrdiff_t)-11);
    printf("%hhu %hu %lu %llx %jo\n", (unsigned char)253, (unsigned short)65236, ULONG_MAX,
           0xfedcba9876543210ull, (uintmax_t)0777);
    printf("%*d|%-*d|%.*d|%*.*d\n", 6, 42, 6, 42, 4, 42, 8, 3, 42);
    printf("%2$s %1$d %2$s\n", 5, "pos");
    printf("%1$*2$d|%3$.*4$f\n", 7, 5, 2.5, 3);
}

static void doubles(void) {
    static const char *formats[] = {"%f",   "%.0f",  "%.3f", "%10.2f", "%-10.2f|", "%+f",  "%e",   "%.0e",  "%E",
                                    "%.10e", "%g",   "%G",   "%.3g",   "%#g",      "%#.0f", "%012.3f", "% .2e", "%a",
                                    "%A",   "%.2a", "%.0a", "%20a",   "%.17g",    "%.25f", "%-12g|"};
    static const double values[] = {0.0, -0.0, 1.0, -1.5, 3.14159265358979, 1e10, 1e-10, 123456789.125, 0.5, 2.5,
                                    1e100, DBL_MAX, DBL_MIN, 4.9e-324, 9.9999995, 1e15, 999998.5};
    for (size_t f = 0; f < sizeof formats / sizeof *formats; f++) {
        printf("%s:", formats[f]);
        for (size_t v = 0; v < sizeof values / sizeof *values; v++) {
            if (strpbrk(formats[f], "aA") && values[v] == 4.9e-324)
                continue; /* glibc does not normalise the digits of subnormal numbers */
            printf(" ");
            printf(formats[f], values[v]);
        }
        printf("\n");
    }
    printf("%f %F %e %5.1g|%-6f|%06f\n", INFINITY, -INFINITY, INFINITY, INFINITY, INFINITY, INFINITY);
    printf("%f %F %6g\n", fabs(NAN), fabs(NAN), fabs(NAN));
    printf("%Lf %.3Le %Lg %.20Lf\n", 1.25L, -12345.678L, 1e-7L, 0.5L);
    printf("%Lg %.15Lg %Lf %.0Lf\n", 1e300L, 3.5L, 123456789.0L, 2.5L);
}

static void texts(void) {
    printf("%s|%10s|%-10s|%.2s|%5.1s|%s\n", "abc", "abc", "abc", "abc", "abc", "");
    printf("%c|%3c|%-3c|%%|%c\n", 'x', 'y', 'z', 0x41);
    char fixed[3] = {'a', 'b', 'c'};
    printf("%.3s %.*s\n", fixed, 2, fixed);
    int count = 0;
    long long_count = 0;
    printf("12345%n678%ln\n", &count, &long_count);
    printf("%d %ld\n", count, long_count);
    printf("%p %20p\n", (void *)0x1234, (void *)0xabcdef);
    printf("%d %s %f %d %s %f %d %s %f %d %s %f %d\n", 1, "a", 1.5, 2, "b", 2.5, 3, "c", 3.5, 4, "d", 4.5, 5);
    printf("%f %f %f %f %f %f %f %f %f %f %d\n", 1., 2., 3., 4., 5., 6., 7., 8., 9., 10., 11);
    forward("%d %s %g %ld", 1, "two", 3.0, 4L);
    forward("%f %f %f %f %f %f %f %f %f %d %d %d %d %d %d %d", 1., 2., 3., 4., 5., 6., 7., 8., 9., 1, 2, 3, 4, 5, 6, 7);
    forward("%Lf %d %Lf", 1.5L, 2, 3.5L);
    char small[5];
    printf("%d %s\n", snprintf(small, sizeof small, "%s", "truncated"), small);
    printf("%d\n", snprintf(NULL, 0, "%d", 12345));
}

static void scans(void) {
    int a = 0, b = 0, c = 0, n = 0;
    long l = 0;
    double d = 0;
    float f = 0;
    char word[32] = "", set[32] = "", one = 0;
    printf("%d ", sscanf("12 -34 0x1f 77", "%d %i %i%n", &a, &b, &c, &n));
    printf("%d %d %d %d\n", a, b, c, n);
    printf("%d ", sscanf("3.25e2,1.5 word rest", "%lf,%f %s", &d, &f, word));
    printf("%g %g %s\n", d, f, word);
    printf("%d ", sscanf("abc123 z", "%[a-c]%ld %c", set, &l, &one));
    printf("%s %ld %c\n", set, l, one);
    printf("%d ", sscanf("12345678", "%3d%*2d%d", &a, &b));
    printf("%d %d\n", a, b);
    printf("%d %d %d\n", sscanf("", "%d", &a), sscanf("x", "%d", &a), sscanf("5 x", "%d %d", &a, &b));
    printf("%d ", sscanf("key = value; more", "%31[^= ] = %31[^;]", set, word));
    printf("%s %s\n", set, word);
}

int main(void) {
    integers();
    doubles();
    texts();
    scans();
    return 0;
}
