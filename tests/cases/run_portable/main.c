/* getopt, inet, complex numbers, wide streams, parts of paths: the same on every system. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <complex.h>
#include <getopt.h>
#include <libgen.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>
#include <wchar.h>
#include <wctype.h>

double lgamma_r(double, int *); /* not in the headers of Darwin by default */

static void options(void) {
    char *words[] = {"program", "-ab", "-c", "value", "-dattached", "-x", "--", "rest", NULL};
    int letter;
    opterr = 0;
    while ((letter = getopt(8, words, "abc:d:")) != -1)
        printf("%c=%s(%c) ", letter, optarg ? optarg : "-", letter == '?' ? optopt : ' ');
    printf("at %d %s\n", optind, words[optind]);
    int flag = 0, chosen = -1;
    struct option known[] = {{"name", required_argument, NULL, 'n'},
                             {"quiet", no_argument, &flag, 5},
                             {"level", optional_argument, NULL, 'l'},
                             {NULL, 0, NULL, 0}};
    char *more[] = {"program", "--name=one", "--name", "two", "--qui", "--level", "--level=3", "-n4", "--none", NULL};
    optind = 1;
    while ((letter = getopt_long(9, more, "n:", known, &chosen)) != -1)
        printf("%d=%s ", letter, optarg ? optarg : "-");
    printf("flag %d at %d\n", flag, optind);
}

static void addresses(void) {
    struct in_addr four;
    struct in6_addr six;
    char text[64];
    printf("%d %d %d ", inet_pton(AF_INET, "192.168.1.20", &four), inet_pton(AF_INET6, "fe80::1", &six), inet_pton(AF_INET, "300.1.1.1", &four));
    inet_pton(AF_INET, "10.0.0.1", &four);
    printf("%s %s ", inet_ntoa(four), inet_ntop(AF_INET6, &six, text, sizeof text));
    printf("%d %x\n", inet_aton("127.1", &four), ntohl(inet_addr("1.2.3.4")));
}

static void paths(void) {
    const char *samples[] = {"/usr/lib/file.c", "name", "/", "dir/", "a//b//", "/x"};
    for (int i = 0; i < 6; i++) {
        char one[32], two[32];
        strcpy(one, samples[i]);
        strcpy(two, samples[i]);
        printf("%s|", dirname(one));
        printf("%s ", basename(two));
    }
    printf("\n");
}

static void numbers(void) {
    double complex z = 3 + 4 * I, e = cexp(1 + 2 * I), r = csqrt(-4), p = cpow(z, 2);
    printf("%g %g %.6f %.6f %g %g %.3f %.3f\n", cabs(z), cimag(conj(z)), creal(e), cimag(e), creal(r), cimag(r), creal(p), cimag(p));
    float complex s = csqrtf(3 + 4 * I);
    printf("%g %g %g %g\n", crealf(s), cimagf(s), cabsf(s * s), carg(-1));
    int sign, quotient;
    double log_gamma = lgamma_r(-0.5, &sign), rest = remquo(7, 2, &quotient);
    printf("%.9g %d %g %d\n", log_gamma, sign, rest, quotient & 7);
    long double whole, part = modfl(3.25L, &whole);
    printf("%Lg %Lg %d %d\n", part, whole, ffs(24), ffs(0));
}

static void wide(void) {
    wchar_t text[32], *copy = wcsdup(L"one two");
    wcscpy(text, L"abc");
    wcsncat(text, L"defgh", 2);
    printf("%zu %zu %zu %d %d\n", wcslen(text), wcsspn(text, L"ab"), wcscspn(text, L"d"), wcscasecmp(L"ABC", L"abd") < 0, wcwidth(L'a'));
    printf("%ld %ls %ls\n", (long)(wcspbrk(text, L"xd") - text), text, copy);
    swprintf(text, 32, L"%d %s %ls", 5, "narrow", L"wide");
    printf("%ls %d\n", text, (int)wcstol(L"0x1f", NULL, 0));
    free(copy);
    mbstate_t state;
    memset(&state, 0, sizeof state);
    wchar_t c;
    printf("%d %d\n", (int)mbrtowc(&c, "a", 1, &state), (int)wctob(L'z'));
    FILE *file = tmpfile();
    fputws(L"wide line", file);
    fputwc(L'!', file);
    rewind(file);
    wint_t first = fgetwc(file);
    ungetwc(first, file);
    printf("%lc%lc\n", (wint_t)fgetwc(file), (wint_t)fgetwc(file));
    fclose(file);
}

int main(void) {
    options();
    addresses();
    paths();
    numbers();
    wide();
    return 0;
}
