"""Which weights a CUDA device can use (`weight_buft_supported`, src/llama-model-loader.cpp; ggml-cuda.cu, b11434).

A tensor whose operation the device lacks stays in host memory although its layer is offloaded.
"""

import re

from kvtop.domain.model_file import TensorInfo
from kvtop.domain.plan import MalformedModelError
from kvtop.planning.llamacpp.model.hparams import HParams

_NO_MATRIX_KERNEL = frozenset({"tq1_0", "tq2_0", "i8", "i16", "i32", "i64", "f64"})
"""Types that ggml-cuda's MUL_MAT does not list."""
_ELEMENTWISE = re.compile(
    r"_norm|norm_|\.norm|\.(ssm_a|ssm_d|ssm_conv1d_[qkv]|exp_probs_b|exp_probs_b_vl|ffn\.act|hc_(attn|ffn)_(base|scale))(\.|$)"
    r"|time_mix_(lerp|ln|a0|v0|w0|k_k|k_a|r_k|decay\b)|channel_mix_lerp|scale|\.bias$|output_hc_(base|scale)|_res_score"
)
_ANY_TYPE = re.compile(r"^rope_|time_mix_first\.weight$|_exps\.bias$|_tid2eid\.|compressor_ape\.")
_CONVOLUTION = re.compile(r"\.(ssm_conv1d|shortconv\.conv)\.weight$")
_STATE_SIZES = frozenset({96, 128, 256})


def gpu_can_hold(tensor: TensorInfo, hparams: HParams, as_output: bool = False) -> bool:
    """Whether a CUDA device supports the operation that the tensor is loaded for.

    `as_output`: the token embedding, created again as output matrix.
    """
    name = tensor.name
    matrix = tensor.type_name not in _NO_MATRIX_KERNEL
    if as_output:
        fits = matrix
    elif name.endswith(".ssm_a") and hparams.traits.scans:
        fits = _scan_supported(tensor, hparams)
    elif _CONVOLUTION.search(name):
        # SSM_CONV needs a channel count that is a multiple of 128.
        fits = len(tensor.shape) > 1 and tensor.shape[1] % 128 == 0
    elif name.endswith(".attn_sinks.weight"):
        fits = tensor.type_name in {"f32", "bf16"}
    elif _ANY_TYPE.search(name):
        fits = True
    elif _ELEMENTWISE.search(name):
        # Beside f32 activations the kernels take f32 and f16 only.
        fits = tensor.type_name in {"f32", "f16"}
    else:
        fits = matrix
    return fits


def _scan_supported(tensor: TensorInfo, hparams: HParams) -> bool:
    if len(tensor.shape) < 2:
        return False
    heads = tensor.shape[1]
    if heads == 0:
        raise MalformedModelError(f"tensor {tensor.name} has no rows")
    head_length = hparams.ssm_d_inner // heads
    if tensor.shape[0] == 1:
        return hparams.ssm_d_state in _STATE_SIZES and head_length % 16 == 0
    return tensor.shape[0] == 16 and head_length == 1 and heads % 128 == 0 and hparams.ssm_n_group in {0, 1}
