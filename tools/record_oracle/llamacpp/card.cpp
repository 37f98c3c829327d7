// A ggml backend that stands in for CUDA cards. The rules are ggml-cuda's own, cut out of the sources at build time
// (rules.inc, made by excerpt.py); what is written here is the machine around them: devices, their memory, buffers that
// are address space only, and streams on which nothing runs.
#include "card.h"

#include "prelude.h"

#include "rules.inc"

#include <sys/mman.h>

void ggml_cuda_stream_context::reset() { concurrent_events.clear(); }

namespace {

constexpr size_t PAGE_BYTES = 2 * 1024 * 1024;  // cudaMalloc hands out pages of this size

struct card {
    card_memory memory;
    size_t      held_bytes = 0;  // live buffers, in pages
};

struct span {  // one buffer: addresses that belong to us, without memory behind them
    void * base;
    size_t bytes;
    card * owner;  // null: host memory
};

std::vector<card *>                       g_cards;
std::vector<ggml_backend_device *>        g_devices;
std::vector<ggml_backend_buffer_type *>   g_buffer_types;
ggml_backend_buffer_type                  g_host_buffer_type;
ggml_backend_reg                          g_registry;
ggml_cuda_device_info                     g_info;
ggml_cuda_stream_context                  g_streams;
bool                                      g_fusion;

size_t in_pages(size_t bytes) { return (std::max<size_t>(bytes, 1) + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES; }

ggml_backend_cuda_device_context & context_of(ggml_backend_dev_t device) {
    return *static_cast<ggml_backend_cuda_device_context *>(device->context);
}

card & card_of(ggml_backend_dev_t device) { return *g_cards[context_of(device).device]; }

// ---- buffers ----------------------------------------------------------------------------------------------------------

span & span_of(ggml_backend_buffer_t buffer) { return *static_cast<span *>(buffer->context); }

void free_buffer(ggml_backend_buffer_t buffer) {
    span & held = span_of(buffer);
    munmap(held.base, held.bytes);
    if (held.owner) {
        held.owner->held_bytes -= held.bytes;
    }
    delete &held;
}

ggml_backend_buffer_i buffer_interface() {
    ggml_backend_buffer_i calls = {};
    calls.free_buffer   = free_buffer;
    calls.get_base      = [](ggml_backend_buffer_t buffer) { return span_of(buffer).base; };
    calls.init_tensor   = [](ggml_backend_buffer_t, ggml_tensor *) { return GGML_STATUS_SUCCESS; };
    calls.memset_tensor = [](ggml_backend_buffer_t, ggml_tensor *, uint8_t, size_t, size_t) {};
    calls.set_tensor    = [](ggml_backend_buffer_t, ggml_tensor *, const void *, size_t, size_t) {};
    calls.get_tensor    = [](ggml_backend_buffer_t, const ggml_tensor *, void * out, size_t, size_t n) { memset(out, 0, n); };
    calls.cpy_tensor    = [](ggml_backend_buffer_t, const ggml_tensor *, ggml_tensor *) { return false; };
    calls.clear         = [](ggml_backend_buffer_t, uint8_t) {};
    return calls;
}

ggml_backend_buffer_t reserve(ggml_backend_buffer_type_t type, size_t bytes, card * owner, int protection) {
    const size_t held = in_pages(bytes);
    if (owner && owner->held_bytes + held > owner->memory.free_bytes) {
        return nullptr;  // cudaErrorMemoryAllocation
    }
    void * base = mmap(nullptr, held, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base == MAP_FAILED) {
        return nullptr;
    }
    if (owner) {
        owner->held_bytes += held;
    }
    return ggml_backend_buffer_init(type, buffer_interface(), new span{base, held, owner}, bytes);
}

ggml_backend_buffer_type * make_buffer_type(int index, const std::string & name) {
    ggml_backend_buffer_type_i calls = {};
    calls.get_name       = ggml_backend_cuda_buffer_type_get_name;
    calls.get_alignment  = ggml_backend_cuda_buffer_type_get_alignment;
    calls.get_alloc_size = ggml_backend_cuda_buffer_type_get_alloc_size;
    calls.alloc_buffer   = [](ggml_backend_buffer_type_t type, size_t bytes) {
        return reserve(type, bytes, &card_of(type->device), PROT_NONE);
    };
    return new ggml_backend_buffer_type{calls, g_devices[index], new ggml_backend_cuda_buffer_type_context{index, name}};
}

void make_host_buffer_type() {  // pinned memory: the CPU's sizes and alignment
    const ggml_backend_buffer_type_t cpu = ggml_backend_cpu_buffer_type();
    ggml_backend_buffer_type_i       calls = {};
    calls.get_name       = ggml_backend_cuda_host_buffer_type_name;
    calls.get_alignment  = cpu->iface.get_alignment;
    calls.get_alloc_size = cpu->iface.get_alloc_size;
    calls.is_host        = cpu->iface.is_host;
    calls.alloc_buffer   = [](ggml_backend_buffer_type_t type, size_t bytes) {
        return reserve(type, bytes, nullptr, PROT_READ | PROT_WRITE);
    };
    g_host_buffer_type = {calls, g_devices[0], nullptr};
}

// ---- streams ----------------------------------------------------------------------------------------------------------

ggml_backend_t make_stream(ggml_backend_dev_t device, const char *) {
    static ggml_guid guid = {'k', 'v', 't', 'o', 'p', '-', 's', 't', 'a', 'n', 'd', '-', 'i', 'n', 0, 1};
    ggml_backend_i   calls = {};
    calls.get_name = [](ggml_backend_t backend) { return context_of(backend->device).name.c_str(); };
    calls.free     = [](ggml_backend_t backend) {
        delete static_cast<ggml_backend_cuda_context *>(backend->context);
        delete backend;
    };
    calls.set_tensor_async = [](ggml_backend_t, ggml_tensor *, const void *, size_t, size_t) {};
    calls.get_tensor_async = [](ggml_backend_t, const ggml_tensor *, void *, size_t, size_t) {};
    calls.cpy_tensor_async = [](ggml_backend_t, ggml_backend_t, const ggml_tensor *, ggml_tensor *) { return false; };
    calls.synchronize      = [](ggml_backend_t) {};
    calls.graph_compute    = [](ggml_backend_t, ggml_cgraph *) { return GGML_STATUS_SUCCESS; };
    calls.event_record     = [](ggml_backend_t, ggml_backend_event_t) {};
    calls.event_wait       = [](ggml_backend_t, ggml_backend_event_t) {};
    if (g_fusion) {
        calls.graph_optimize = ggml_backend_cuda_graph_optimize;
    }
    auto * context = new ggml_backend_cuda_context{context_of(device).device, &g_streams};
    return new ggml_backend{&guid, calls, device, context};
}

// ---- devices ----------------------------------------------------------------------------------------------------------

void tell_memory(ggml_backend_dev_t device, size_t * free_bytes, size_t * total_bytes) {
    const card & one = card_of(device);
    *free_bytes      = one.memory.free_bytes - one.held_bytes;
    *total_bytes     = one.memory.total_bytes;
}

// A capability that older builds do not have.
template <class Caps> auto set_mmap_support(Caps & caps, int) -> decltype((void) caps.mmap_support) { caps.mmap_support = true; }
template <class Caps> void set_mmap_support(Caps &, long) {}

void tell_properties(ggml_backend_dev_t device, ggml_backend_dev_props * properties) {
    properties->name        = context_of(device).name.c_str();
    properties->description = context_of(device).description.c_str();
    properties->type        = GGML_BACKEND_DEVICE_TYPE_GPU;
    properties->device_id   = context_of(device).pci_bus_id.c_str();
    tell_memory(device, &properties->memory_free, &properties->memory_total);
    properties->caps             = {};
    properties->caps.async       = true;
    properties->caps.host_buffer = true;
    properties->caps.events      = true;
    set_mmap_support(properties->caps, 0);
}

ggml_backend_device_i device_interface() {
    ggml_backend_device_i calls = {};
    calls.get_name             = [](ggml_backend_dev_t device) { return context_of(device).name.c_str(); };
    calls.get_description      = [](ggml_backend_dev_t device) { return context_of(device).description.c_str(); };
    calls.get_memory           = tell_memory;
    calls.get_type             = [](ggml_backend_dev_t) { return GGML_BACKEND_DEVICE_TYPE_GPU; };
    calls.get_props            = tell_properties;
    calls.init_backend         = make_stream;
    calls.get_buffer_type      = [](ggml_backend_dev_t device) { return g_buffer_types[context_of(device).device]; };
    calls.get_host_buffer_type = [](ggml_backend_dev_t) { return &g_host_buffer_type; };
    calls.supports_op          = ggml_backend_cuda_device_supports_op;
    calls.supports_buft        = ggml_backend_cuda_device_supports_buft;
    calls.offload_op           = ggml_backend_cuda_device_offload_op;
    calls.event_new            = [](ggml_backend_dev_t device) { return new ggml_backend_event{device, nullptr}; };
    calls.event_free           = [](ggml_backend_dev_t, ggml_backend_event_t event) { delete event; };
    calls.event_synchronize    = [](ggml_backend_dev_t, ggml_backend_event_t) {};
    return calls;
}

}  // namespace

const ggml_cuda_device_info & ggml_cuda_info() { return g_info; }

void register_cards(const std::vector<card_memory> & cards, int compute_capability, bool fusion) {
    if (cards.empty()) {
        return;
    }
    g_fusion            = fusion;
    g_info.device_count = static_cast<int>(cards.size());
    for (const card_memory & memory : cards) {
        const int index = static_cast<int>(g_cards.size());
        auto &    facts = g_info.devices[index];
        facts            = {};
        facts.cc         = compute_capability;
        facts.nsm        = 128;
        facts.smpb       = 48 * 1024;
        facts.smpbo      = 99 * 1024;
        facts.warp_size  = 32;
        facts.total_vram = memory.total_bytes;
        auto * context = new ggml_backend_cuda_device_context();
        context->device      = index;
        context->name        = "CUDA" + std::to_string(index);
        context->description = "NVIDIA GeForce RTX 4090";
        context->pci_bus_id  = "0000:0" + std::to_string(index + 1) + ":00.0";
        context->op_offload_min_batch_size = 32;
        g_cards.push_back(new card{memory});
        g_devices.push_back(new ggml_backend_device{device_interface(), &g_registry, context});
        g_buffer_types.push_back(make_buffer_type(index, context->name));
    }
    make_host_buffer_type();
    ggml_backend_reg_i calls = {};
    calls.get_name         = [](ggml_backend_reg_t) { return "CUDA"; };
    calls.get_device_count = [](ggml_backend_reg_t) { return g_devices.size(); };
    calls.get_device       = [](ggml_backend_reg_t, size_t index) -> ggml_backend_dev_t { return g_devices[index]; };
    calls.get_proc_address = [](ggml_backend_reg_t, const char *) -> void * { return nullptr; };
    g_registry = {GGML_BACKEND_API_VERSION, calls, nullptr};
    ggml_backend_register(&g_registry);
}

void stand_in_for_host_memory(size_t total_bytes) {
    static size_t bytes;
    bytes = total_bytes;
    ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_CPU)->iface.get_memory =
        [](ggml_backend_dev_t, size_t * free_bytes, size_t * told_bytes) { *free_bytes = *told_bytes = bytes; };
}
