// Stand-in CUDA cards: they answer every question about memory as ggml-cuda of the same sources does, and compute nothing.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

struct card_memory {
    size_t total_bytes;
    size_t free_bytes;  // what cudaMemGetInfo says before anything is loaded
};

// Register one device a card, named CUDA0 and so on. `fusion`: apply the allocation dependencies of ggml-cuda's fused
// operations (its default at run time; the recorded answers are without). Before the first use of the registry; once.
void register_cards(const std::vector<card_memory> & cards, int compute_capability, bool fusion);

// Let the host's memory be this much, whatever machine records: without a card, --fit looks at it.
void stand_in_for_host_memory(size_t total_bytes);
