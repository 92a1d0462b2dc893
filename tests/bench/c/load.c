/* Asks a daemon over many connections at once, and says how many answers a second came.
 * Does not: know what the answers mean; each must be the same as the first.
 * Used by: the benchmark. Usage: load SOCKET REQUEST-FILE CLIENTS REQUESTS new|kept|closing
 *
 * `new` makes a connection for each request and reads a line, `kept` keeps its connections, `closing` is `new` for a
 * daemon that answers when the request's side is shut, and ends its answer by closing. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

static struct sockaddr_un address = {.sun_family = AF_UNIX};
static char request[16384], first[65536], answer[65536];
static ssize_t request_length, first_length;
static int epoll, is_kept, is_closing;

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static void ask(int fd) {
    if (write(fd, request, request_length) != request_length) fail("load: write");
    if (is_closing) shutdown(fd, SHUT_WR);
}

static void begin(void) {
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address)) fail("load: connect");
    epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
    ask(fd);
}

int main(int argc, char **argv) {
    struct epoll_event events[64];
    struct timespec began, ended;
    struct rlimit limit;
    if (argc != 6) return 2;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    strncpy(address.sun_path, argv[1], sizeof address.sun_path - 1);
    int file = open(argv[2], O_RDONLY | O_CLOEXEC);
    request_length = read(file, request, sizeof request);
    long clients = atol(argv[3]), requests = atol(argv[4]), asked = 0, answered = 0;
    is_kept = !strcmp(argv[5], "kept");
    is_closing = !strcmp(argv[5], "closing");
    epoll = epoll_create1(EPOLL_CLOEXEC);
    clock_gettime(CLOCK_MONOTONIC, &began);
    while (asked < clients && asked < requests) begin(), asked++;
    while (answered < requests) {
        int count = epoll_wait(epoll, events, 64, -1);
        for (int i = 0; i < count; i++) {
            int fd = events[i].data.fd;
            ssize_t got, length = 0;
            do {
                got = read(fd, answer + length, sizeof answer - length);
                if (got < 0) fail("load: read");
                length += got;
            } while (is_closing ? got > 0 : got > 0 && answer[length - 1] != '\n');
            if (!first_length) memcpy(first, answer, first_length = length);
            if (!length || length != first_length || memcmp(answer, first, length)) {
                fprintf(stderr, "load: a wrong answer: %.*s\n", (int)length, answer);
                return 1;
            }
            answered++;
            int goes_on = asked < requests;
            asked += goes_on;
            if (is_kept && goes_on) {
                ask(fd);
                continue;
            }
            close(fd);
            if (goes_on) begin();
        }
    }
    clock_gettime(CLOCK_MONOTONIC, &ended);
    double seconds = ended.tv_sec - began.tv_sec + (ended.tv_nsec - began.tv_nsec) / 1e9;
    printf("%.0f\n", requests / seconds);
    return 0;
}
