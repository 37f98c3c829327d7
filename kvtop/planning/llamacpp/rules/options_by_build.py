"""Which builds know which options of llama-server (`common_params_parser_init`, common/arg.cpp).

Read in the sources of sixteen builds and in the programs of twenty-one, b5300 to b11549. Between the build that lacks
an option and the one that has it, nobody knows.
"""

from dataclasses import dataclass

_CAME = """\
5300 5353 | --no-op-offload
5353 5456 | --swa-full --no-prefill-assistant
5456 5671 | --reasoning-budget --offline
5671 5772 | -ctkd --cache-type-k-draft -ctvd --cache-type-v-draft
5772 5937 | --api-prefix --chat-template-kwargs -kvu --kv-unified --reverse-prompt -td --threads-draft -tbd
5772 5937 | --threads-batch-draft
5772 6123 | -nr
5772 6301 | -r -otd
5937 6123 | --no-repack -cmoe --cpu-moe -ncmoe --n-cpu-moe
6123 6301 | --swa-checkpoints --override-tensor-draft -cmoed --cpu-moe-draft -ncmoed --n-cpu-moe-draft --context-shift
6123 6301 | --top-nsigma --fim-qwen-30b-default
6123 6451 | -dr
6451 6628 | --docker-repo
6628 6751 | --ctx-checkpoints -cram --cache-ram --no-host --embd-gemma-default --gpt-oss-20b-default
6628 6751 | --gpt-oss-120b-default --vision-gemma-4b-default --vision-gemma-12b-default
6900 7079 | -cl --cache-list --image-min-tokens --image-max-tokens
7079 7376 | --perf --warmup -kvo --kv-offload --repack -mm -mmu --mmproj-auto --no-mmproj-auto --mmproj-offload
7079 7376 | --op-offload --webui --media-path --models-dir --models-preset --models-max --models-autoload
7079 7376 | --no-models-autoload --no-jinja --prefill-assistant
7376 7710 | -lcs --lookup-cache-static -lcd --lookup-cache-dynamic -bs --backend-sampling --fit -fitt --fit-target
7376 7710 | -fitc --fit-ctx --webui-config --webui-config-file --sleep-idle-seconds
7376 8156 | -fit
7710 7964 | -no-kvu --no-kv-unified --adaptive-target --adaptive-decay --cache-prompt --no-cache-prompt --spec-type
7710 7964 | --spec-ngram-size-n --spec-ngram-size-m --spec-ngram-min-hits
7964 8156 | --temperature --top-n-sigma --typical-p
8156 8672 | -ctxcp --tags --reuse-port --webui-mcp-proxy --no-webui-mcp-proxy --tools -rea --reasoning
8156 8672 | --reasoning-budget-message --skip-chat-parsing --no-skip-chat-parsing
8672 9294 | --cache-idle-slots --no-cache-idle-slots --embd-normalize --ui-config --ui-config-file --ui-mcp-proxy
8672 9294 | --no-ui-mcp-proxy --ui --no-ui --no-log-prefix --no-log-timestamps --spec-draft-hf --spec-draft-threads
8672 9294 | --spec-draft-threads-batch --spec-draft-cpu-mask -Cd --cpu-mask-draft --spec-draft-cpu-range -Crd
8672 9294 | --cpu-range-draft --spec-draft-cpu-strict --cpu-strict-draft --spec-draft-prio --prio-draft
8672 9294 | --spec-draft-poll --poll-draft --spec-draft-cpu-mask-batch -Cbd --cpu-mask-batch-draft
8672 9294 | --spec-draft-cpu-strict-batch --cpu-strict-batch-draft --spec-draft-prio-batch --prio-batch-draft
8672 9294 | --spec-draft-poll-batch --poll-batch-draft --spec-draft-type-k --spec-draft-type-v
8672 9294 | --spec-draft-override-tensor --spec-draft-cpu-moe --spec-draft-n-cpu-moe --spec-draft-ncmoe
8672 9294 | --spec-draft-n-max --spec-draft-n-min --spec-draft-p-split --draft-p-split --spec-draft-p-min
8672 9294 | --spec-draft-backend-sampling --no-spec-draft-backend-sampling --spec-draft-device --spec-draft-ngl
8672 9294 | --spec-draft-model --spec-ngram-mod-n-min --spec-ngram-mod-n-max --spec-ngram-mod-n-match
8672 9294 | --spec-ngram-simple-size-n --spec-ngram-simple-size-m --spec-ngram-simple-min-hits
8672 9294 | --spec-ngram-map-k-size-n --spec-ngram-map-k-size-m --spec-ngram-map-k-min-hits
8672 9294 | --spec-ngram-map-k4v-size-n --spec-ngram-map-k4v-size-m --spec-ngram-map-k4v-min-hits --spec-default
9294 9538 | -cms --checkpoint-min-step --sse-ping-interval
9538 9760 | --mtmd-batch-max-tokens -ag --agent -no-ag --no-agent --log-prompts-dir
9760 10068 | --cors-origins --cors-methods --cors-headers --cors-credentials --no-cors-credentials
9760 10068 | --reasoning-preserve --no-reasoning-preserve
10068 10566 | -mmdev --mmproj-device -lm --load-mode --tools-runtime --mcp-servers-config --mcp-servers-json
10068 10566 | --reasoning-effort
10566 11063 | --kv-unified-per-slot --video-fps --video-timestamp-interval --video-ffmpeg-dir -lzm --lazy-mode -ncffn
10566 11063 | --n-cpu-ffn --log-jsonl --no-log-jsonl --spec-synth-len --spec-synth-rates
11063 11549 | --spec-draft-sampling
"""
"""The last build that lacks these spellings, and the first that has them."""

_WENT = """\
0 5353 5353 5937 0 | --dump-kv-cache -dkvc
0 5353 6628 6900 0 | --embd-bge-small-en-default --embd-e5-small-en-default --embd-gte-small-default
0 5353 8156 8672 0 | --verbose-prompt
0 5353 8672 9294 1 | --ctx-size-draft -cd
0 5353 10068 10566 0 | --tts-use-guide-tokens
0 5353 10068 10566 1 | --hf-file-v --hf-repo-v --model-vocoder -hffv -hfrv -hfv -mv
0 5353 10566 11063 0 | --mlock --no-mmap
5772 6301 8672 9294 2 | --spec-replace
7079 7376 10566 11063 0 | --mmap
7376 8156 9294 9538 0 | --license
7376 8156 10566 11063 0 | --direct-io --no-direct-io -dio -ndio
8156 8672 8672 9294 0 | --clear-idle --no-clear-idle
8156 8672 9294 9538 1 | --checkpoint-every-n-tokens -cpent
11063 11549 11549 0 1 | --moe-cache-mib
"""
"""The last build before these spellings (0: they were there from the start) and the first with them, the last with them
and the first without (0: none is known); and how many values they take. b11434's own table has none of them."""


@dataclass(frozen=True, slots=True)
class OtherBuildsOption:
    """An option of other builds: between which it came, between which it went, and how many values it takes."""

    came: tuple[int, int]
    went: tuple[int, int]
    values: int

    def is_known_to(self, build: int) -> bool:
        """Whether a build takes it, as far as is known."""
        return build > self.came[0] and (self.went[1] == 0 or build < self.went[1])


def _came() -> dict[str, tuple[int, int]]:
    found = {}
    for line in _CAME.splitlines():
        builds, _, words = line.partition(" | ")
        last, first = map(int, builds.split())
        found.update(dict.fromkeys(words.split(), (last, first)))
    return found


def _went() -> dict[str, OtherBuildsOption]:
    found = {}
    for line in _WENT.splitlines():
        builds, _, words = line.partition(" | ")
        before, first, last, after, values = map(int, builds.split())
        found.update(dict.fromkeys(words.split(), OtherBuildsOption((before, first), (last, after), values)))
    return found


CAME = _came()
"""Spelling of b11434's table -> (last build without it, first build with it)."""

WENT = _went()
"""Spelling that b11434's table lacks -> the builds that have it."""


def is_too_new(spelling: str, build: int) -> bool:
    """Whether a build is known to lack an option of the newest table."""
    came = CAME.get(spelling)
    return came is not None and build <= came[0]
