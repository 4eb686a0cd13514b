/* What only Darwin has, and what has another shape there: each line is a check that must say ok. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <mach-o/dyld.h>
#include <mach/mach_time.h>
#include <netdb.h>
#include <netinet/in.h>
#include <os/lock.h>
#include <poll.h>
#include <pthread.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/event.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysctl.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

ssize_t getxattr(const char *, const char *, void *, size_t, uint32_t, int);
ssize_t listxattr(const char *, char *, size_t, int);
int setxattr(const char *, const char *, const void *, size_t, uint32_t, int);
int removexattr(const char *, const char *, int);

static int failures;

static void check(const char *what, int good) {
    if (!good)
        failures++;
    printf("%s %s\n", what, good ? "ok" : "FAILED");
}

static char root[512];

static const char *in_root(const char *name) {
    static _Thread_local char path[1024];
    snprintf(path, sizeof path, "%s/%s", root, name);
    return path;
}

static void files(void) {
    struct stat info;
    int fd = open(in_root("data"), O_CREAT | O_RDWR | O_TRUNC, 0640);
    check("write", write(fd, "0123456789", 10) == 10);
    check("fstat", fstat(fd, &info) == 0 && info.st_size == 10 && (info.st_mode & 07777) == 0640 && S_ISREG(info.st_mode));
    check("stat time", info.st_mtimespec.tv_sec > 1600000000 && info.st_blksize > 0);
    check("pread", pread(fd, root + 400, 3, 5) == 3 && memcmp(root + 400, "567", 3) == 0);
    struct iovec parts[2] = {{"ab", 2}, {"cde", 3}};
    check("writev", lseek(fd, 0, SEEK_END) == 10 && writev(fd, parts, 2) == 5);
    char one[4], two[8];
    struct iovec into[2] = {{one, 4}, {two, 8}};
    lseek(fd, 5, SEEK_SET);
    check("readv", readv(fd, into, 2) == 10 && memcmp(one, "5678", 4) == 0 && memcmp(two, "9abcde", 6) == 0);
    char path[1024];
    check("F_GETPATH", fcntl(fd, F_GETPATH, path) == 0 && strstr(path, "/data"));
    check("F_GETFL", (fcntl(fd, F_GETFL) & O_ACCMODE) == O_RDWR && fcntl(fd, F_SETFD, FD_CLOEXEC) == 0 && fcntl(fd, F_GETFD) == FD_CLOEXEC);
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 4};
    check("F_SETLK", fcntl(fd, F_SETLK, &lock) == 0);
    char *map = mmap(NULL, 15, PROT_READ, MAP_PRIVATE, fd, 0);
    check("mmap", map != MAP_FAILED && memcmp(map, "0123456789abcde", 15) == 0 && munmap(map, 15) == 0);
    char *shared = mmap(NULL, 15, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    shared[0] = 'X';
    check("shared mmap", msync(shared, 15, MS_SYNC) == 0 && pread(fd, one, 1, 0) == 1 && one[0] == 'X');
    check("bad map", mmap(NULL, 0, PROT_READ, MAP_ANON | MAP_PRIVATE, -1, 0) == MAP_FAILED && errno == EINVAL);
    check("ftruncate", ftruncate(fd, 3) == 0 && lseek(fd, 0, SEEK_END) == 3);
    check("dup2", dup2(fd, 50) == 50 && write(50, "z", 1) == 1 && close(50) == 0 && write(50, "z", 1) == -1 && errno == EBADF);
    if (setxattr(in_root("data"), "color", "blue", 4, 0, 0) == 0) {
        check("xattr", getxattr(in_root("data"), "color", path, sizeof path, 0, 0) == 4 && memcmp(path, "blue", 4) == 0);
        check("listxattr", listxattr(in_root("data"), path, sizeof path, 0) >= 6);
        check("removexattr", removexattr(in_root("data"), "color", 0) == 0 && getxattr(in_root("data"), "color", 0, 0, 0, 0) == -1 && errno == ENOATTR);
    } else {
        check("xattr", errno == ENOTSUP);
        check("listxattr", 1);
        check("removexattr", 1);
    }
    close(fd);
    struct statfs system;
    check("statfs", statfs(root, &system) == 0 && system.f_bsize > 0 && system.f_blocks > 0 && strcmp(system.f_fstypename, "apfs") == 0);
    check("mkdir", mkdir(in_root("dir"), 0755) == 0 && symlink("data", in_root("link")) == 0);
    DIR *stream = opendir(root);
    int seen = 0;
    for (struct dirent *entry; (entry = readdir(stream));) {
        if (strcmp(entry->d_name, "dir") == 0)
            seen += entry->d_type == DT_DIR && entry->d_namlen == 3;
        if (strcmp(entry->d_name, "data") == 0)
            seen += 10 * (entry->d_type == DT_REG && entry->d_ino == info.st_ino);
        if (strcmp(entry->d_name, "link") == 0)
            seen += 100 * (entry->d_type == DT_LNK);
    }
    check("readdir", seen == 111 && closedir(stream) == 0);
    check("unlink a directory", unlink(in_root("dir")) == -1 && errno == EPERM && rmdir(in_root("dir")) == 0);
    check("readlink", readlink(in_root("link"), path, sizeof path) == 4);
    char template[600];
    snprintf(template, sizeof template, "%s/tmpXXXXXX", root);
    fd = mkstemp(template);
    check("mkstemp", fd >= 0 && strstr(template, "XXXXXX") == NULL && close(fd) == 0);
    check("realpath", realpath(root, NULL) != NULL && realpath(in_root("none"), NULL) == NULL && errno == ENOENT);
    struct timeval times[2] = {{1000000000, 0}, {1100000000, 500000}};
    check("utimes", utimes(in_root("data"), times) == 0 && stat(in_root("data"), &info) == 0 && info.st_mtimespec.tv_sec == 1100000000 && info.st_mtimespec.tv_nsec == 500000000);
    check("access", access(in_root("data"), R_OK) == 0 && access(in_root("none"), F_OK) == -1 && errno == ENOENT);
    check("loop", symlink("loop", in_root("loop")) == 0 && open(in_root("loop"), O_RDONLY) == -1 && errno == ELOOP);
}

static void *send_later(void *argument) {
    usleep(2000);
    write(*(int *)argument, "late", 4);
    return NULL;
}

static void *write_fifo(void *argument) {
    int fd = open(in_root("fifo"), O_WRONLY);
    write(fd, "fifo", 4);
    close(fd);
    return NULL;
}

static void fifos(void) {
    pthread_t thread;
    char text[8];
    check("mkfifo", mkfifo(in_root("fifo"), 0600) == 0);
    pthread_create(&thread, NULL, write_fifo, NULL);
    int fd = open(in_root("fifo"), O_RDONLY);
    check("fifo", fd >= 0 && read(fd, text, sizeof text) == 4 && memcmp(text, "fifo", 4) == 0);
    pthread_join(thread, NULL);
    check("fifo end", read(fd, text, sizeof text) == 0);
}

static void events(void) {
    int pair[2], queue = kqueue();
    check("socketpair", socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
    struct kevent change[2], event;
    EV_SET(&change[0], pair[0], EVFILT_READ, EV_ADD | EV_CLEAR, 0, 0, (void *)7);
    EV_SET(&change[1], 33, EVFILT_USER, EV_ADD | EV_CLEAR, 0, 0, (void *)8);
    struct timespec none = {0, 0}, second = {1, 0};
    check("kevent empty", kevent(queue, change, 2, &event, 1, &none) == 0);
    pthread_t thread;
    pthread_create(&thread, NULL, send_later, &pair[1]);
    check("kevent", kevent(queue, NULL, 0, &event, 1, &second) == 1 && event.ident == pair[0] && event.udata == (void *)7);
    pthread_join(thread, NULL);
    EV_SET(&change[1], 33, EVFILT_USER, 0, NOTE_TRIGGER, 0, NULL);
    check("kevent user", kevent(queue, &change[1], 1, NULL, 0, NULL) == 0 && kevent(queue, NULL, 0, &event, 1, NULL) == 1 && event.filter == EVFILT_USER && event.udata == (void *)8);
    struct pollfd poller = {pair[0], POLLIN, 0};
    check("poll", poll(&poller, 1, 0) == 1 && poller.revents == POLLIN);
    char text[16];
    check("recv", recv(pair[0], text, sizeof text, 0) == 4 && poll(&poller, 1, 1) == 0);
    fd_set set;
    FD_ZERO(&set);
    FD_SET(pair[0], &set);
    struct timeval soon = {0, 1000};
    check("select", select(pair[0] + 1, &set, NULL, NULL, &soon) == 0 && !FD_ISSET(pair[0], &set));
    check("non-blocking", fcntl(pair[0], F_SETFL, O_NONBLOCK) == 0 && read(pair[0], text, 1) == -1 && errno == EAGAIN);
    int passed = open("/dev/null", O_RDWR);
    char control[CMSG_SPACE(sizeof(int))] = {0};
    struct iovec vector = {"f", 1};
    struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1, .msg_control = control, .msg_controllen = CMSG_LEN(sizeof(int))};
    struct cmsghdr *rights = CMSG_FIRSTHDR(&message);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(rights), &passed, sizeof passed);
    check("sendmsg", sendmsg(pair[1], &message, 0) == 1);
    struct iovec space = {text, sizeof text};
    struct msghdr got = {.msg_iov = &space, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    int received = -1;
    check("recvmsg", recvmsg(pair[0], &got, 0) == 1 && CMSG_FIRSTHDR(&got) != NULL);
    memcpy(&received, CMSG_DATA(CMSG_FIRSTHDR(&got)), sizeof received);
    check("passed descriptor", received > 2 && received != passed && write(received, "x", 1) == 1);
    signal(SIGPIPE, SIG_IGN);
    close(pair[0]);
    check("broken pipe", write(pair[1], "x", 1) == -1 && errno == EPIPE);

    int server = socket(AF_INET, SOCK_STREAM, 0), yes = 1;
    struct sockaddr_in address = {.sin_len = sizeof address, .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    check("bind", setsockopt(server, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes) == 0 && bind(server, (struct sockaddr *)&address, size) == 0 && listen(server, 4) == 0);
    check("getsockname", getsockname(server, (struct sockaddr *)&address, &size) == 0 && address.sin_port != 0 && address.sin_len == 16);
    int client = socket(AF_INET, SOCK_STREAM, 0);
    check("connect", connect(client, (struct sockaddr *)&address, size) == 0);
    struct sockaddr_in peer;
    size = sizeof peer;
    int accepted = accept(server, (struct sockaddr *)&peer, &size);
    check("accept", accepted >= 0 && peer.sin_family == AF_INET && size == 16);
    check("send", send(client, "tcp", 3, 0) == 3 && recv(accepted, text, 3, MSG_WAITALL) == 3 && memcmp(text, "tcp", 3) == 0);
    struct sockaddr_un local = {.sun_family = AF_UNIX};
    snprintf(local.sun_path, sizeof local.sun_path, "%s/s", strlen(root) < 90 ? root : "/tmp");
    unlink(local.sun_path);
    int named = socket(AF_UNIX, SOCK_DGRAM, 0);
    check("unix bind", bind(named, (struct sockaddr *)&local, sizeof local) == 0);
    int error = -1;
    size = sizeof error;
    check("SO_ERROR", getsockopt(client, SOL_SOCKET, SO_ERROR, &error, &size) == 0 && error == 0);
    struct addrinfo hints = {.ai_family = AF_INET, .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST}, *found;
    check("getaddrinfo", getaddrinfo("127.0.0.1", "80", &hints, &found) == 0 && ((struct sockaddr_in *)found->ai_addr)->sin_port == htons(80));
    freeaddrinfo(found);
    check("no such host", getaddrinfo("no.such.invalid", NULL, &hints, &found) == EAI_NONAME);
}

static void terminals(void) {
    int master = posix_openpt(O_RDWR | O_NOCTTY);
    check("posix_openpt", master >= 0 && grantpt(master) == 0 && unlockpt(master) == 0);
    int other = open(ptsname(master), O_RDWR | O_NOCTTY);
    char text[16];
    check("terminal", other >= 0 && isatty(other) && !isatty(open("/dev/null", O_RDWR)));
    check("through the terminal", write(master, "line\n", 5) == 5 && read(other, text, sizeof text) == 5 && memcmp(text, "line\n", 5) == 0);
}

static void system_facts(void) {
    char text[1024];
    size_t size = sizeof text;
    int count = 0;
    check("sysctlbyname", sysctlbyname("kern.ostype", text, &size, NULL, 0) == 0 && strcmp(text, "Darwin") == 0);
    size = sizeof count;
    check("hw.ncpu", sysctlbyname("hw.ncpu", &count, &size, NULL, 0) == 0 && count > 0 && sysconf(_SC_NPROCESSORS_ONLN) == count);
    int mib[2] = {CTL_HW, HW_PAGESIZE}, page = 0;
    size = sizeof page;
    check("sysctl", sysctl(mib, 2, &page, &size, NULL, 0) == 0 && page == getpagesize());
    check("no such name", sysctlbyname("no.such.name", text, &size, NULL, 0) == -1 && errno == ENOENT);
    struct utsname name;
    check("uname", uname(&name) == 0 && strcmp(name.sysname, "Darwin") == 0 && strcmp(name.machine, "x86_64") == 0);
    uint32_t room = sizeof text;
    check("executable path", _NSGetExecutablePath(text, &room) == 0 && access(text, X_OK) == 0);
    mach_timebase_info_data_t base;
    uint64_t before = mach_absolute_time();
    usleep(1000);
    check("mach time", mach_timebase_info(&base) == 0 && (mach_absolute_time() - before) * base.numer / base.denom >= 1000000);
    check("nsec clock", clock_gettime_nsec_np(CLOCK_UPTIME_RAW) > 0);
    struct passwd *user = getpwuid(getuid());
    check("getpwuid", user && user->pw_uid == getuid() && user->pw_dir[0] == '/');
    struct group *group = getgrgid(getgid());
    check("getgrgid", group && group->gr_gid == getgid());
    struct rlimit limit;
    check("rlimit", getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur >= 256);
    struct rusage usage;
    check("rusage", getrusage(RUSAGE_SELF, &usage) == 0 && usage.ru_maxrss > 0);
    check("setenv", setenv("RUN_TEST", "one", 1) == 0 && strcmp(getenv("RUN_TEST"), "one") == 0 && unsetenv("RUN_TEST") == 0 && !getenv("RUN_TEST"));
    os_unfair_lock lock = OS_UNFAIR_LOCK_INIT;
    os_unfair_lock_lock(&lock);
    check("unfair lock", !os_unfair_lock_trylock(&lock));
    os_unfair_lock_unlock(&lock);
    uint64_t id;
    check("thread id", pthread_threadid_np(NULL, &id) == 0 && id > 0 && pthread_main_np() == 1);
    check("stack", (char *)pthread_get_stackaddr_np(pthread_self()) > (char *)&id && pthread_get_stacksize_np(pthread_self()) >= 1 << 20);
    check("images", _dyld_image_count() >= 1 && _dyld_get_image_header(0) != NULL);
    check("fork", fork() == -1 && errno == ENOSYS);
}

static int by_thunk(void *thunk, const void *a, const void *b) {
    return (*(const int *)a - *(const int *)b) * *(int *)thunk;
}

static void memory_and_text(void) {
    int values[5] = {3, 1, 2, 5, 4}, sign = -1;
    qsort_r(values, 5, sizeof *values, &sign, by_thunk);
    check("qsort_r", values[0] == 5 && values[4] == 1);
    char text[32], *buffer;
    check("strlcpy", strlcpy(text, "longer", 4) == 6 && strcmp(text, "lon") == 0 && strlcat(text, "xyz", 6) == 6 && strcmp(text, "lonxy") == 0);
    memset_pattern4(text, "abcd", 10);
    check("pattern", memcmp(text, "abcdabcdab", 10) == 0);
    size_t size;
    FILE *stream = open_memstream(&buffer, &size);
    fprintf(stream, "%d-%s", 5, "five");
    check("memstream", fclose(stream) == 0 && size == 6 && strcmp(buffer, "5-five") == 0);
    check("asprintf", asprintf(&buffer, "%x", 255) == 2 && strcmp(buffer, "ff") == 0);
    check("strnstr", strnstr("haystack", "stack", 8) != NULL && strnstr("haystack", "stack", 5) == NULL);
    char words[] = "a,,b", *place = words;
    check("strsep", strcmp(strsep(&place, ","), "a") == 0 && strcmp(strsep(&place, ","), "") == 0 && strcmp(strsep(&place, ","), "b") == 0 && !place);
    check("random", arc4random_uniform(10) < 10);
    __block int total = 0;
    void (^add)(int) = ^(int n) { total += n; };
    add(2);
    add(3);
    check("block", total == 5);
    check("strerror", strcmp(strerror(ENOENT), "No such file or directory") == 0 && strcmp(strerror(EAGAIN), "Resource temporarily unavailable") == 0);
    volatile __int128 wide = (__int128)1 << 100;
    check("128 bits", (long)(wide / ((__int128)1 << 90)) == 1024 && (long)(wide % 1000) == 376);
    volatile _Complex double one = 1.0 + 2.0i, other = 3.0 - 1.0i;
    _Complex double product = one * other, quotient = one / other;
    check("complex", __real__ product == 5 && __imag__ product == 5 && __real__ quotient > 0.0999 && __real__ quotient < 0.1001);
}

int main(int argc, char **argv) {
    strlcpy(root, argv[1], 400);
    files();
    fifos();
    events();
    terminals();
    system_facts();
    memory_and_text();
    return failures;
}
