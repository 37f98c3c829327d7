// llama-server's way from its arguments to its buffers, with the engine's own calls, up to the point where it would
// allocate.
#include "engine.h"

#include <map>
#include <memory>
#include <sstream>
#include <unordered_map>
#include <unordered_set>

#include "arg.h"
#include "server_start.h"

#define private public  // buffers that no accessor shows
#include "llama-context.h"
#include "llama-ext.h"
#include "llama-hparams.h"
#include "llama-kv-cache-iswa.h"
#include "llama-kv-cache.h"
#include "llama-memory-hybrid-iswa.h"
#include "llama-memory-hybrid.h"
#include "llama-memory-recurrent.h"
#include "llama-model.h"
#undef private

namespace {

std::vector<std::string> g_warnings;
std::vector<std::string> g_errors;

void collect(ggml_log_level level, const char * text, void *) {
    std::string line = text;
    while (!line.empty() && line.back() == '\n') {
        line.pop_back();
    }
    if (level == GGML_LOG_LEVEL_ERROR) {
        g_errors.push_back(line);
    } else if (level == GGML_LOG_LEVEL_WARN) {
        g_warnings.push_back(line);
    }
}

void put(json_text & out, const std::string & name, const std::vector<std::string> & lines) {
    out.key(name).open('[');
    for (const std::string & line : lines) {
        out.value(line);
    }
    out.close(']');
}

struct amounts {
    size_t weights = 0, cache = 0, compute = 0;
};

void put(json_text & out, const std::string & name, const amounts & one) {
    out.key(name).open('{').field("weights", one.weights).field("kv", one.cache).field("compute", one.compute).close('}');
}

// ---- measuring -------------------------------------------------------------------------------------------------------

template <class Map> size_t sum(const Map & by_type) {
    size_t bytes = 0;
    for (const auto & [type, amount] : by_type) {
        bytes += amount;
    }
    return bytes;
}

void put_split(json_text & out, const llama_memory_i * memory) {
    const llama_kv_cache *         attention = nullptr;
    const llama_kv_cache *         sliding   = nullptr;
    const llama_memory_recurrent * recurrent = nullptr;
    const char *                   kind      = "none";
    const auto windows = [&](const llama_kv_cache_iswa & both) { attention = both.get_base(); sliding = both.get_swa(); };
    if (const auto * plain = dynamic_cast<const llama_kv_cache *>(memory)) {
        kind = "kv", attention = plain;
    } else if (const auto * both = dynamic_cast<const llama_kv_cache_iswa *>(memory)) {
        kind = "iswa", windows(*both);
    } else if (const auto * hybrid = dynamic_cast<const llama_memory_hybrid *>(memory)) {
        kind = "hybrid", attention = hybrid->get_mem_attn(), recurrent = hybrid->get_mem_recr();
    } else if (const auto * mixed = dynamic_cast<const llama_memory_hybrid_iswa *>(memory)) {
        kind = "hybrid_iswa", windows(*mixed->get_mem_attn()), recurrent = mixed->get_mem_recr();
    } else if (const auto * state = dynamic_cast<const llama_memory_recurrent *>(memory)) {
        kind = "recurrent", recurrent = state;
    } else if (memory) {
        kind = "other";
    }
    out.key("kv_split").open('{').field("kind", kind);
    if (attention) {
        out.field("attention", sum(attention->memory_breakdown())).field("attn_cells", attention->get_size());
    }
    if (sliding) {
        out.field("swa", sum(sliding->memory_breakdown())).field("swa_cells", sliding->get_size());
    }
    if (recurrent) {
        out.field("recurrent", sum(recurrent->memory_breakdown()));
    }
    out.close('}');
}

void put_details(json_text & out, const llama_model & model, const llama_context & context) {
    const auto & settings = context.get_cparams();
    out.field("flash_attn", settings.flash_attn)
        .field("kv_unified", settings.kv_unified)
        .field("n_outputs_max", settings.n_outputs_max)
        .field("n_rs_seq", settings.n_rs_seq)
        .field("pipeline_parallel", settings.pipeline_parallel)
        .field("n_ctx_train", llama_model_n_ctx_train(&model))
        .field("n_swa", llama_model_n_swa(&model))
        .field("n_params", llama_model_n_params(&model))
        .field("tensor_bytes", llama_model_size(&model))
        .field("output_bytes", context.buf_output ? ggml_backend_buffer_get_size(context.buf_output.get()) : 0);
    put_split(out, context.memory.get());
}

void put_placement(json_text & out, const llama_model & model) {
    const auto name_of = [&](ggml_backend_dev_t device) {
        for (int i = 0; i < llama_model_n_devices(&model); i++) {
            if (llama_model_get_device(&model, i) == device) {
                return "gpu" + std::to_string(i);
            }
        }
        return std::string("host");
    };
    const int layers = model.hparams.n_layer_all;
    out.key("layer_device").open('[');
    for (int layer = 0; layer < layers; layer++) {
        out.value(name_of(model.dev_layer(layer)));
    }
    out.close(']').field("output_device", name_of(model.dev_output())).key("tensors").open('[');
    for (const auto & [name, tensor] : model.tensors_by_name) {  // those that lie elsewhere than their layer
        if (!tensor->buffer) {
            continue;
        }
        const auto        type = ggml_backend_buffer_get_type(tensor->buffer);
        const std::string where = ggml_backend_buft_is_host(type) ? "host" : name_of(ggml_backend_buft_get_device(type));
        int               layer;
        const bool        in_block = sscanf(name.c_str(), "blk.%d.", &layer) == 1 && layer < layers;
        if (!in_block || name_of(model.dev_layer(layer)) != where) {
            out.open('[').value(name).value(where).close(']');
        }
    }
    out.close(']');
}

struct measured {
    const char * key;
    bool         shares_weights;
};

void measure(json_text & out, const measured & what, const std::string & path, llama_model_params model_params,
             const llama_context_params & context_params, const question & asked) {
    without_reading(model_params);
    out.key(what.key).open('{');
    const std::unique_ptr<llama_model, decltype(&llama_model_free)> model(
        llama_model_load_from_file(path.c_str(), model_params), llama_model_free);
    if (!model) {
        out.field("refused", "model").close('}');
        return;
    }
    const std::unique_ptr<llama_context, decltype(&llama_free)> context(
        llama_init_from_model(model.get(), context_params), llama_free);
    if (!context) {
        out.field("refused", "context").close('}');
        return;
    }
    const int                      count = llama_model_n_devices(model.get());
    std::vector<amounts>           devices(count);
    std::map<std::string, amounts> others;
    for (const auto & [type, bytes] : llama_get_memory_breakdown(context.get())) {
        amounts * one = nullptr;
        if (ggml_backend_buft_is_host(type)) {
            one = &others["host"];
        }
        for (int i = 0; i < count && !one; i++) {
            if (llama_model_get_device(model.get(), i) == ggml_backend_buft_get_device(type)) {
                one = &devices[i];
            }
        }
        if (!one) {
            one = &others[ggml_backend_buft_name(type)];
        }
        one->weights += what.shares_weights ? 0 : bytes.model;
        one->cache   += bytes.context;
        one->compute += bytes.compute;
    }
    others.try_emplace("host");
    out.field("n_ctx", llama_n_ctx(context.get()))
        .field("n_ctx_seq", llama_n_ctx_seq(context.get()))
        .field("n_seq_max", llama_n_seq_max(context.get()))
        .field("n_batch", llama_n_batch(context.get()))
        .field("n_ubatch", llama_n_ubatch(context.get()))
        .field("n_layer", llama_model_n_layer(model.get()));
    out.key("devices").open('[');
    for (int i = 0; i < count; i++) {
        out.value(ggml_backend_dev_name(llama_model_get_device(model.get(), i)));
    }
    out.close(']').key("by_device").open('{');
    for (int i = 0; i < count; i++) {
        put(out, "gpu" + std::to_string(i), devices[i]);
    }
    for (const auto & [name, one] : others) {
        put(out, name, one);
    }
    out.close('}');
    if (asked.details) {
        put_details(out, *model, *context);
    }
    if (asked.placement) {
        put_placement(out, *model);
    }
    out.close('}');
}

}  // namespace

void answer(const question & asked, json_text & out) {
    std::vector<std::string> words = asked.arguments;
    words.insert(words.begin(), "llama-server");
    std::vector<char *> pointers;
    for (std::string & word : words) {
        pointers.push_back(word.data());
    }
    common_init();
    common_params params;
    const bool    parsed = common_params_parse(static_cast<int>(pointers.size()), pointers.data(), params, LLAMA_EXAMPLE_SERVER);
    out.field("parsed", parsed);
    if (!parsed) {
        return;
    }
    llama_log_set(collect, nullptr);
    llama_backend_init();
    apply_defaults(params);
    auto model_params   = common_model_params_to_llama(params);
    auto context_params = common_context_params_to_llama(params);
    out.field("n_parallel", params.n_parallel);
    if (params.fit_params) {
        fit(out, params, model_params, context_params);
    } else {
        put_chosen(out, model_params, context_params);
    }
    measure(out, {"main", false}, params.model.path, model_params, context_params, asked);
    if (drafts(params) || is_mtp(params)) {  // loaded afterwards, from what the fit has left behind
        second_context second = second_of(params);
        const bool     shares = !drafts(params);
        second.context.n_ctx  = context_params.n_ctx;
        measure(out, {"draft", shares}, second.params.model.path, shares ? model_params : second.model, second.context, asked);
    }
    put(out, "warnings", g_warnings);
    put(out, "errors", g_errors);
}
