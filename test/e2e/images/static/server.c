/* An image with one static program and nothing else: no shell, no sleep, no libc. Counts, answers HTTP on 8080 and
 * exec probes (`/server probe`), exits on request. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static int listen_on(int port) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(fd, (struct sockaddr *)&address, sizeof address) || listen(fd, 64)) return -1;
    return fd;
}

static int probe(void) {
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(8080)};
    char byte;
    inet_pton(AF_INET, "127.0.0.1", &address.sin_addr);
    if (connect(fd, (struct sockaddr *)&address, sizeof address)) return 1;
    if (write(fd, "GET /healthz HTTP/1.0\r\n\r\n", 25) != 25) return 1;
    return read(fd, &byte, 1) == 1 ? 0 : 1;
}

/* The lines of /proc/self/status that a move must not change. */
static size_t status_facts(char *out, size_t size) {
    static const char *const wanted[] = {"Uid:", "Gid:", "Groups:", "CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:", "NoNewPrivs:", "Seccomp:", "Seccomp_filters:"};
    char line[512];
    size_t used = 0;
    FILE *status = fopen("/proc/self/status", "re");
    while (status && fgets(line, sizeof line, status))
        for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++)
            if (!strncmp(line, wanted[i], strlen(wanted[i]))) used += snprintf(out + used, size - used, "%s", line);
    if (status) fclose(status);
    return used;
}

static void answer(int fd, long count) {
    char request[2048], path[256] = "", body[4096], head[128];
    ssize_t got = read(fd, request, sizeof request - 1);
    request[got > 0 ? got : 0] = 0;
    sscanf(request, "%*s %255s", path);
    if (!strncmp(path, "/exit/", 6)) exit(atoi(path + 6));
    if (!strcmp(path, "/segv")) raise(SIGSEGV);
    size_t size = !strcmp(path, "/proc") ? status_facts(body, sizeof body) : (size_t)snprintf(body, sizeof body, "count %ld pid %d\n", count, getpid());
    int n = snprintf(head, sizeof head, "HTTP/1.0 200 OK\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n", size);
    if (write(fd, head, n) != n || write(fd, body, size) != (ssize_t)size) return;
}

int main(int argc, char **argv) {
    if (argc > 1 && !strcmp(argv[1], "probe")) return probe();
    int fd = listen_on(8080);
    if (fd < 0) {
        perror("listen on 8080");
        return 9;
    }
    signal(SIGPIPE, SIG_IGN);
    setvbuf(stdout, NULL, _IOLBF, 0);
    printf("server started, pid %d\n", getpid());
    for (long count = 1;; count++) {
        struct pollfd ready = {fd, POLLIN, 0};
        if (poll(&ready, 1, 20) > 0) {
            int client = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
            if (client >= 0) {
                answer(client, count);
                close(client);
            }
        }
    }
}
