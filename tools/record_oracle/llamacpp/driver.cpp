// Answers questions about llama-server's memory, one line in, one line of JSON out. A question is fields with tabs between:
//
//     name  cards  wishes  argument  argument …
//
// `cards` is TOTAL:FREE in MiB for each card with commas between, or "-" for none; `wishes` are words with commas between
// (details, placement, fusion, host=BYTES), or "-". Each question has a process of its own: the engine's registry of devices and its
// log are global, its option parser may exit, and an assertion must not end the rest.
#include "card.h"
#include "engine.h"
#include "json_text.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <iostream>
#include <sstream>

namespace {

std::vector<std::string> fields_of(const std::string & line, char separator) {
    std::vector<std::string> fields;
    std::istringstream       stream(line);
    for (std::string field; std::getline(stream, field, separator);) {
        fields.push_back(field);
    }
    return fields;
}

std::vector<card_memory> cards_of(const std::string & text) {
    std::vector<card_memory> cards;
    for (const std::string & one : text == "-" ? std::vector<std::string>{} : fields_of(text, ',')) {
        const size_t colon = one.find(':');
        const size_t total = std::stoull(one);
        cards.push_back({total << 20, (colon == std::string::npos ? total : std::stoull(one.substr(colon + 1))) << 20});
    }
    return cards;
}

bool wished(const std::string & wishes, const std::string & word) {
    const std::vector<std::string> words = fields_of(wishes, ',');
    return std::find(words.begin(), words.end(), word) != words.end();
}

void set_host_memory(const std::string & wishes) {
    const std::string name = "host=";
    for (const std::string & one : fields_of(wishes, ',')) {
        if (one.compare(0, name.size(), name) == 0) {
            stand_in_for_host_memory(std::stoull(one.substr(name.size())));
        }
    }
}

void write_all(int to, const std::string & text) {
    for (size_t done = 0; done < text.size();) {
        const ssize_t wrote = write(to, text.data() + done, text.size() - done);
        if (wrote <= 0) {
            _exit(1);
        }
        done += static_cast<size_t>(wrote);
    }
}

[[noreturn]] void be_asked(const std::vector<std::string> & fields, int to) {
    const int nowhere = open("/dev/null", O_WRONLY);  // what the engine prints is no answer
    dup2(nowhere, STDOUT_FILENO);
    register_cards(cards_of(fields[1]), 890, wished(fields[2], "fusion"));
    set_host_memory(fields[2]);
    json_text out;
    out.open('{').field("name", fields[0]);
    answer({{fields.begin() + 3, fields.end()}, wished(fields[2], "details"), wished(fields[2], "placement")}, out);
    out.close('}');
    write_all(to, out.text());
    _exit(0);
}

std::string ask(const std::vector<std::string> & fields) {
    int ends[2];
    if (pipe(ends) != 0) {
        throw std::runtime_error("no pipe");
    }
    const pid_t child = fork();
    if (child == 0) {
        close(ends[0]);
        be_asked(fields, ends[1]);
    }
    close(ends[1]);
    std::string text;
    char        piece[65536];
    for (ssize_t got; (got = read(ends[0], piece, sizeof piece)) > 0;) {
        text.append(piece, static_cast<size_t>(got));
    }
    close(ends[0]);
    int status = 0;
    waitpid(child, &status, 0);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0 && !text.empty()) {
        return text;
    }
    json_text died;
    died.open('{').field("name", fields[0]).field("parsed", false);
    died.field(WIFSIGNALED(status) ? "signal" : "exit", WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
    died.close('}');
    return died.text();
}

}  // namespace

int main() {
    for (std::string line; std::getline(std::cin, line);) {
        const std::vector<std::string> fields = fields_of(line, '\t');
        if (fields.size() < 3) {
            std::cerr << "expected: name, cards, wishes, arguments\n";
            return 2;
        }
        std::cout << ask(fields) << std::endl;
    }
    return 0;
}
