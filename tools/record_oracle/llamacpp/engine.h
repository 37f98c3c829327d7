// What the recorder asks of llama.cpp for one command of llama-server.
#pragma once

#include "json_text.h"

#include <string>
#include <vector>

struct question {
    std::vector<std::string> arguments;  // of llama-server, without the program's name
    bool                     details;    // also the cache split by kind, parameters, the output buffer
    bool                     placement;  // also which device holds which layer and tensor
};

// Parse the arguments as llama-server does, apply its start-up defaults and --fit, and measure without allocating.
// Writes members of an open JSON object: `parsed`, `fit`, `main`, `draft`, `warnings`, `errors`.
void answer(const question & asked, json_text & out);
