// What llama-server does between its option parser and its first buffer: defaults, the second context of a draft, --fit.
// The steps and their order are those of llama_server(), server_context_impl::load_model() and
// common_init_result::common_init_result(); where builds differ, build_facts.h (made by build.py) says what this one has.
#pragma once

#include "build_facts.h"
#include "json_text.h"

#include "common.h"
#include "ggml-backend.h"
#include "llama.h"

#include <string>

// Open a model for its sizes alone.
void without_reading(llama_model_params & params);

// The server's own changes to what the parser gave: slots, unified cache, outputs.
void apply_defaults(common_params & params);

bool is_mtp(const common_params & params);
bool drafts(const common_params & params);

struct second_context {  // a draft model, or an MTP context on the main model's weights
    common_params        params;
    llama_model_params   model;
    llama_context_params context;
};

// As it is measured by --fit and loaded after the main model, from whatever `params` holds by then.
second_context second_of(const common_params & params);

// The parameters that --fit may choose, as members of an open JSON object.
void put_chosen(json_text & out, const llama_model_params & model, const llama_context_params & context);

// Run --fit; what it writes into the parameters stays there. Writes a member `fit` of an open JSON object.
void fit(json_text & out, common_params & params, llama_model_params & model, llama_context_params & context);
