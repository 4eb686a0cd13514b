/* Reads standard input in several ways, and a temporary file. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(void) {
    char line[64];
    int a, b;
    double d;
    char word[16];
    printf("%s", fgets(line, sizeof line, stdin));
    printf("%d %d %i %g %s\n", scanf("%d %i %lf %15s", &a, &b, &d, word), a, b, d, word);
    printf("newline %d\n", getchar());
    int c = getc(stdin);
    ungetc(c, stdin);
    char *whole = NULL;
    size_t room = 0;
    long size = (long)getline(&whole, &room, stdin);
    printf("line %ld %c\n", size, whole[0]);
    memset(line, 0, sizeof line);
    printf("read %zu %s", fread(line, 1, sizeof line - 1, stdin), line);
    printf(" eof %d error %d\n", feof(stdin) != 0, ferror(stdin) != 0);
    FILE *file = tmpfile();
    fprintf(file, "%s %d\n", "text", 5);
    fputs("second\n", file);
    printf("at %ld\n", ftell(file));
    rewind(file);
    printf("%s", fgets(line, sizeof line, file));
    fseek(file, -3, SEEK_END);
    printf("%d %d\n", fgetc(file), fgetc(file));
    printf("%d %d\n", fgetc(file) == '\n', fgetc(file) == EOF);
    fclose(file);
    free(whole);
    return 0;
}
