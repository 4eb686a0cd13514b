/* Changes what a process shares with the one it runs in, and leaves everything open. */
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

int main(int argc, char **argv) {
    int ends[2];
    umask(0);
    return chdir(argv[1]) || pipe(ends) || open("file", O_CREAT | O_WRONLY, 0666) < 0 || dup(0) < 0;
}
