/* A process called llama-server that serves files. It stands for a server of which only the outside matters: its name,
   its arguments, its environment and its answers. Port: the word after --port; without one it only waits. Answer to
   GET /a/b: the file a_b in the folder STANDIN_REPLIES, else 404. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void answer(int client, const char *folder) {
    char request[8192], path[512], name[1024];
    ssize_t length = read(client, request, sizeof request - 1);
    if (length <= 0) return;
    request[length] = 0;
    if (sscanf(request, "GET /%500[^ ?]", path) != 1) return;
    for (char *c = path; *c; c++)
        if (*c == '/') *c = '_';
    snprintf(name, sizeof name, "%s/%s", folder, path);
    FILE *file = fopen(name, "rb");
    static char body[1 << 20];
    size_t size = file ? fread(body, 1, sizeof body, file) : 0;
    if (file) fclose(file);
    dprintf(client, "HTTP/1.1 %s\r\nServer: llama.cpp\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n"
            "Connection: close\r\n\r\n", file ? "200 OK" : "404 Not Found", size);
    for (size_t done = 0; done < size;) {
        ssize_t n = write(client, body + done, size - done);
        if (n <= 0) return;
        done += (size_t)n;
    }
}

int main(int argc, char **argv) {
    int port = 0, on = 1;
    for (int i = 1; i + 1 < argc; i++)
        if (!strcmp(argv[i], "--port")) port = atoi(argv[i + 1]);
    if (!port) for (;;) pause();
    int server = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((unsigned short)port)};
    inet_pton(AF_INET, "127.0.0.1", &address.sin_addr);
    setsockopt(server, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(server, (struct sockaddr *)&address, sizeof address) || listen(server, 16)) return 1;
    for (;;) {
        int client = accept(server, NULL, NULL);
        if (client < 0) continue;
        answer(client, getenv("STANDIN_REPLIES") ? getenv("STANDIN_REPLIES") : ".");
        close(client);
    }
}
