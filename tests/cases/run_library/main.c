/* strings, stdlib, math, time, locale, ctype and wide characters. */
#include <ctype.h>
#include <errno.h>
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <wchar.h>
#include <wctype.h>

static int by_value(const void *a, const void *b) { return *(const int *)a - *(const int *)b; }
static int by_text(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

static void strings(void) {
    char buffer[64] = "hello";
    printf("%zu %s %s\n", strlen(buffer), strcat(buffer, ", world"), strchr(buffer, 'w'));
    printf("%s %d %d %d\n", strrchr(buffer, 'o'), strcmp("a", "b") < 0, strncmp("abc", "abd", 2), strcasecmp("ABC", "abc"));
    printf("%s %zu %zu %s\n", strstr(buffer, "lo"), strspn("aabbc", "ab"), strcspn("hello", "l"), strpbrk("hello", "xyl"));
    char list[] = "a,b;;c", *save, *token = strtok_r(list, ",;", &save);
    for (; token; token = strtok_r(NULL, ",;", &save))
        printf("[%s]", token);
    char *copy = strdup("copy"), fill[8];
    memset(fill, 'x', 7);
    fill[7] = 0;
    memmove(fill + 1, fill, 3);
    printf(" %s %s %d %s\n", copy, fill, memcmp("abc", "abd", 3) < 0, (char *)memchr("find me", 'm', 7));
    strncpy(fill, "toolongtext", 7);
    printf("%s %s\n", fill, strerror(ENOENT));
    free(copy);
}

static void numbers(void) {
    char *end;
    printf("%ld %ld %ld %s\n", strtol("  -42rest", &end, 10), strtol("0x1F", NULL, 0), strtol("777", NULL, 8), end);
    errno = 0;
    printf("%ld %d ", strtol("99999999999999999999", NULL, 10), errno == ERANGE);
    printf("%lu %g %g %g\n", strtoul("4294967296", NULL, 10), strtod("1.5e3x", &end), strtod("0x1.8p1", NULL), atof("-.5"));
    printf("%d %d %ld %d\n", atoi("12abc"), abs(-3), labs(-4L), div(17, 5).rem);
    printf("%ld %ld\n", ldiv(-17, 5).quot, ldiv(-17, 5).rem);
    int values[] = {5, 3, 9, -1, 7, 3, 0}, key = 7;
    qsort(values, 7, sizeof *values, by_value);
    for (int i = 0; i < 7; i++)
        printf("%d ", values[i]);
    int *found = bsearch(&key, values, 7, sizeof *values, by_value);
    char *words[] = {"pear", "fig", "apple"};
    qsort(words, 3, sizeof *words, by_text);
    printf("at %ld %s %s %s\n", (long)(found - values), words[0], words[1], words[2]);
    void *block = calloc(10, 10);
    block = realloc(block, 5000);
    printf("%d %d\n", ((char *)block)[99], posix_memalign(&block, 64, 100) == 0 && (size_t)block % 64 == 0);
}

static void mathematics(void) {
    printf("%.12g %.12g %.12g %.12g\n", sin(1), cos(1), tan(1), atan2(1, 2));
    printf("%.12g %.12g %.12g %.12g\n", exp(1), log(10), log10(1000), pow(2, 0.5));
    printf("%g %g %g %g %g\n", floor(-1.5), ceil(-1.5), round(2.5), trunc(-2.7), rint(2.5));
    printf("%g %g %g %ld %d\n", fmod(7, 3), hypot(3, 4), cbrt(27), lround(2.5), ilogb(1000));
    int exponent;
    double whole, part = modf(3.75, &whole), mantissa = frexp(20, &exponent);
    printf("%g %g %g %d %g\n", part, whole, mantissa, exponent, ldexp(0.75, 4));
    printf("%.6g %.6g %.6g %g\n", sinf(2), sqrtf(2), powf(3, 2.5f), fabsf(-1.5f));
    printf("%g %g %d %d\n", fmax(1, NAN), copysign(3, -0.0), isnan(NAN) != 0, isinf(-INFINITY) != 0);
    printf("%.9g %g %.9g\n", (double)nextafterf(1, 2), nextafter(1, 0) < 1 ? 1. : 0., tgamma(5));
    printf("%.15Lg %.10Lg\n", sqrtl(2.25L), powl(2, 10));
}

static void times(void) {
    time_t when = 1234567890;
    struct tm parts, *utc = gmtime(&when);
    char text[64];
    strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S %a %b %j", utc);
    printf("%s %d %d\n", text, utc->tm_wday, utc->tm_yday);
    gmtime_r(&when, &parts);
    parts.tm_mday += 40;
    printf("%ld %s", (long)timegm(&parts), asctime(&parts));
    printf("%g %d\n", difftime(when, when - 5), time(NULL) > 1500000000);
}

static void characters(void) {
    int sums[8] = {0};
    for (int c = 0; c < 128; c++) {
        sums[0] += isalpha(c) != 0;
        sums[1] += isdigit(c) != 0;
        sums[2] += isspace(c) != 0;
        sums[3] += ispunct(c) != 0;
        sums[4] += isxdigit(c) != 0;
        sums[5] += isprint(c) != 0;
        sums[6] += toupper(c) != c;
        sums[7] += tolower(c) != c;
    }
    for (int i = 0; i < 8; i++)
        printf("%d ", sums[i]);
    struct lconv *conventions = localeconv();
    printf("%s %s\n", setlocale(LC_ALL, NULL), conventions->decimal_point);
    wchar_t wide[32];
    wcscpy(wide, L"wide");
    wcscat(wide, L" text");
    printf("%zu %d %d %d\n", wcslen(wide), wcscmp(wide, L"wide text"), iswalpha(L'w') != 0, (int)towupper(L'w'));
    char narrow[32];
    printf("%zu %s %d\n", wcstombs(narrow, wide, sizeof narrow), narrow, (int)wcstol(L"-12", NULL, 10));
}

int main(void) {
    strings();
    numbers();
    mathematics();
    times();
    characters();
    return 0;
}
