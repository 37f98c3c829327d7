#include "server_start.h"

#include "fit.h"
#include "log.h"
#include "speculative.h"

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <unistd.h>
#include <vector>

namespace {

void limit_outputs(common_params & params) {
    const bool pooled = params.pooling_type != LLAMA_POOLING_TYPE_UNSPECIFIED && params.pooling_type != LLAMA_POOLING_TYPE_NONE;
    if (params.embedding || pooled) {
        params.n_outputs_max = params.n_batch;
#if HAS_OUTPUTS_PER_SEQUENCE
        params.n_outputs_max_per_seq = 1;
#endif
        return;
    }
    const int32_t drafted = common_speculative_n_max(&params.speculative);
#if HAS_OUTPUTS_PER_SEQUENCE
    const auto limits = common_speculative_get_output_limits(params.n_batch, params.n_parallel, drafted);
    params.n_outputs_max         = std::max<int32_t>(1, limits.total);
    params.n_outputs_max_per_seq = std::max<int32_t>(1, limits.per_seq);
#else
    const int64_t wanted = static_cast<int64_t>(params.n_parallel) * (1 + drafted);
    params.n_outputs_max = static_cast<int32_t>(std::max<int64_t>(1, std::min<int64_t>(params.n_batch, wanted)));
#endif
}

#if !HAS_DRAFT_PARAMS
common_params draft_params_of(const common_params & params) {
    common_params result = params;
    if (drafts(params)) {
        const auto & draft = params.speculative.draft;
        result.devices               = draft.devices;
        result.model                 = draft.mparams;
        result.n_gpu_layers          = draft.n_gpu_layers;
        result.tensor_buft_overrides = draft.tensor_buft_overrides;
    }
    result.cache_type_k  = params.speculative.draft.cache_type_k;
    result.cache_type_v  = params.speculative.draft.cache_type_v;
    result.n_outputs_max = params.n_parallel;
    return result;
}
#endif

#if !HAS_FIT_EXTRA
// A build that measures the second context once, before, and adds it to the margins.
void add_to_margins(common_params & params, const second_context & second) {
    std::vector<ggml_backend_dev_t> found;
    uint32_t                        layers = 0, trained = 0, experts = 0;
    const auto amounts = common_get_device_memory_data(
        second.params.model.path.c_str(), &second.model, &second.context, found, layers, trained, experts, GGML_LOG_LEVEL_ERROR);
    std::vector<ggml_backend_dev_t> targets = params.devices;
    for (size_t i = 0; targets.empty() && i < ggml_backend_dev_count(); i++) {
        targets.push_back(ggml_backend_dev_get(i));
    }
    for (size_t i = 0; i < found.size(); i++) {
        const auto place = std::find(targets.begin(), targets.end(), found[i]);
        if (place != targets.end()) {
            const size_t weights = drafts(params) ? amounts[i].model : 0;
            params.fit_params_target[place - targets.begin()] += weights + amounts[i].context + amounts[i].compute;
        }
    }
}
#endif

// The log of the fit goes through a file: the engine's logger has no other door.
class fit_log {
  public:
    fit_log() {
        const int file = mkstemp(path_);
        if (file >= 0) {
            close(file);
        }
        common_log_set_file(common_log_main(), path_);
        common_log_set_verbosity_thold(4);
    }
    ~fit_log() { unlink(path_); }

    void put(json_text & out) const {
        common_log_flush(common_log_main());
        std::ifstream stream(path_);
        out.key("log").open('[');
        for (std::string line; std::getline(stream, line);) {
            const size_t start = line.find("common_");
            if (start != std::string::npos) {
                out.value(line.substr(start));
            }
        }
        out.close(']');
    }

  private:
    char path_[32] = "/tmp/kvtop-fit-XXXXXX";
};

}  // namespace

void without_reading(llama_model_params & params) {
    params.no_alloc = true;
#if HAS_LOAD_MODE
    params.load_mode = LLAMA_LOAD_MODE_NONE;
#else
    params.use_mmap      = false;
    params.use_direct_io = false;
#endif
}

void apply_defaults(common_params & params) {
    if (params.embedding && params.n_batch > params.n_ubatch) {
        params.n_batch = params.n_ubatch;
    }
    if (params.n_parallel < 0) {
        params.n_parallel = 4;
        params.kv_unified = true;
    }
#if HAS_KV_UNIFIED_PER_SLOT
    const bool whole_context = static_cast<uint32_t>(params.fit_params_min_ctx) == UINT32_MAX;  // after -c 0
    if (params.kv_unified_per_slot > 0 && params.n_ctx == 0 && !whole_context) {
        params.n_ctx = params.n_parallel * params.kv_unified_per_slot;
    }
#endif
    limit_outputs(params);
}

bool is_mtp(const common_params & params) {
    const auto & types = params.speculative.types;
    return std::count(types.begin(), types.end(), COMMON_SPECULATIVE_TYPE_DRAFT_MTP) > 0;
}

bool drafts(const common_params & params) { return params.speculative.has_dft(); }

second_context second_of(const common_params & params) {
#if HAS_DRAFT_PARAMS
    second_context second{common_base_params_to_speculative(params), {}, {}};
#else
    second_context second{draft_params_of(params), {}, {}};
#endif
    second.model   = common_model_params_to_llama(second.params);
    second.context = common_context_params_to_llama(second.params);
    if (is_mtp(params)) {
        second.context.ctx_type = LLAMA_CONTEXT_TYPE_MTP;
    }
    second.context.n_rs_seq = 0;
    return second;
}

void put_chosen(json_text & out, const llama_model_params & model, const llama_context_params & context) {
    size_t shares = llama_max_devices();
    while (shares > 0 && (!model.tensor_split || model.tensor_split[shares - 1] == 0.0f)) {
        shares--;
    }
    out.field("n_ctx", context.n_ctx).field("n_gpu_layers", model.n_gpu_layers).key("tensor_split").open('[');
    for (size_t i = 0; i < shares; i++) {
        out.value(static_cast<double>(model.tensor_split[i]));
    }
    out.close(']').key("overrides").open('[');
    for (const auto * one = model.tensor_buft_overrides; one && one->pattern; one++) {
        out.open('[').value(one->pattern).value(ggml_backend_buft_name(one->buft)).close(']');
    }
    out.close(']');
}

void fit(json_text & out, common_params & params, llama_model_params & model, llama_context_params & context) {
    const bool     two    = drafts(params) || is_mtp(params);
    second_context second = second_of(params);
    const fit_log  log;
#if HAS_FIT_EXTRA
    const common_fit_extra_model extra{second.params.model.path.c_str(), &second.model, &second.context, !drafts(params)};
    const int status = common_fit_params(params.model.path.c_str(), &model, &context, params.tensor_split,
        params.tensor_buft_overrides.data(), params.fit_params_target.data(), params.fit_params_min_ctx, two ? &extra : nullptr,
        GGML_LOG_LEVEL_ERROR);
#else
    if (two) {
        add_to_margins(params, second);
    }
    const int status = common_fit_params(params.model.path.c_str(), &model, &context, params.tensor_split,
        params.tensor_buft_overrides.data(), params.fit_params_target.data(), params.fit_params_min_ctx, GGML_LOG_LEVEL_ERROR);
#endif
    out.key("fit").open('{').field("status", status);
    put_chosen(out, model, context);
    log.put(out);
    out.close('}');
}
