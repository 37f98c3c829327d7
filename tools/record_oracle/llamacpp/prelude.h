// What the rules cut out of ggml-cuda (excerpt.py) need around them, and what they must not bring along: a running card.
#pragma once

#include "ggml-backend-impl.h"
#include "ggml-backend.h"
#include "ggml-cpu.h"
#include "ggml-cuda.h"
#include "ggml-impl.h"
#include "ggml.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#define QK_K 256  // ggml-common.h, which declares the quantized blocks and is not otherwise needed
#define __host__
#define __device__
#define __forceinline__ inline

// Events and streams of the concurrency option, which is off and allocates nothing.
using cudaError_t  = int;
using cudaEvent_t  = void *;
using cudaStream_t = void *;
constexpr int cudaSuccess            = 0;
constexpr int cudaEventDisableTiming = 0;
inline int          cudaEventCreateWithFlags(cudaEvent_t *, int) { return cudaSuccess; }
inline int          cudaEventDestroy(cudaEvent_t) { return cudaSuccess; }
inline int          cudaGetLastError() { return cudaSuccess; }
inline const char * cudaGetErrorString(int) { return "no card"; }
inline void         ggml_cuda_error(const char *, const char *, const char *, int, const char *) {}
inline void         ggml_cuda_set_device(int) {}

struct ggml_cuda_device_info;
const ggml_cuda_device_info & ggml_cuda_info();

// A build for the card at hand: kernels of its own compute capability are compiled.
inline int ggml_cuda_highest_compiled_arch(int cc) { return cc; }

struct ggml_cuda_concurrent_event;
struct ggml_cuda_stream_context {
    std::unordered_map<const ggml_tensor *, ggml_cuda_concurrent_event> concurrent_events;
    void reset();
};

struct ggml_backend_cuda_context {
    int                        device;
    ggml_cuda_stream_context * streams = nullptr;
    ggml_cuda_stream_context & stream_context() { return *streams; }
};

// The address of a vector kernel says that it was compiled; it is never called.
template <int head_size, ggml_type type_k, ggml_type type_v>
void ggml_cuda_flash_attn_ext_vec_case(ggml_backend_cuda_context &, ggml_tensor *) {}
