"""`docker run`, `podman run`: the server's own command inside, its variables, and who reaches its port."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

PROGRAMS = frozenset({"docker", "podman", "nerdctl"})
_IMAGES = (
    (re.compile(r"vllm-openai|(?:^|/)vllm(?::|$)"), ("vllm", "serve"), ()),
    # The images of the project say so themselves (.devops/*.Dockerfile, llama.cpp b11434).
    (
        re.compile(r"llama\.?cpp:[\w.-]*server|llama-server"),
        ("llama-server",),
        (("LLAMA_ARG_HOST", "0.0.0.0"),),
    ),
)
"""Images whose entry point is the server, with variables of their own; what follows the image are its arguments."""
_FULL_IMAGE = re.compile(r"llama\.?cpp:full")
"""Its entry point is a script that takes `--server` first (.devops/tools.sh)."""
_SWITCHES = frozenset(
    {"--detach", "--rm", "--interactive", "--tty", "--privileged", "--init", "--read-only", "--publish-all", "--quiet"}
    | {"--no-healthcheck", "--oom-kill-disable", "--sig-proxy", "--disable-content-trust", "--replace", "--rmi"}
    | {"--no-hosts", "--no-hostname", "--env-host", "--http-proxy", "--unsetenv-all", "--passwd", "--help"}
)
_SHORT_SWITCHES = re.compile(r"-[ditPq]+")
_NAMED = frozenset({"llama-server", "llama", "vllm", "python3", "python", "mlx_lm.server", "bash", "sh"})
_TAG_VERSION = re.compile(r":(?:[a-z]+-)*(v?\d+(?:\.\d+)+|b\d{3,6})(?:[-.+]\w|$|@)")
"""In `vllm/vllm-openai:v0.17.1-cu129`, `llama.cpp:server-cuda-b9660`."""
_SIZE = re.compile(r"(\d{1,15}(?:\.\d{1,6})?)(?:([kmg])b?|b)?")
_SECRETS = frozenset({"VLLM_API_KEY", "LLAMA_API_KEY"})


@dataclass(frozen=True, slots=True)
class ContainerRun:
    """`published`: the `-p` values as typed; None where all ports are, or the container shares the host's network.

    `env_files`: variables come from files that were not read.
    """

    words: tuple[str, ...]
    variables: tuple[tuple[str, str], ...]
    published: tuple[str, ...] | None
    env_files: bool = False
    image: str = ""
    mounts: tuple[tuple[str, str], ...] = ()
    """(folder or file inside, where it is outside) as typed, for paths only: volumes by name lie nowhere we know."""
    memory_bytes: int | None = None
    """The limit of `--memory`: what its control group may hold, mapped files that are read included; None: none."""

    @property
    def image_version(self) -> str | None:
        """The version in the tag of the image ("v0.17.1", "b9660"); None for a tag without one (`latest`)."""
        found = _TAG_VERSION.search(self.image)
        return None if found is None else found[1]

    def outside(self, path: str) -> str:
        """The path as the machine around the container knows it, or the path itself where nothing is mounted."""
        covering = [(target, source) for target, source in self.mounts if path == target or _is_below(path, target)]
        if not covering:
            return path
        target, source = max(covering, key=lambda mount: len(mount[0]))
        return source if path == target else f"{source.rstrip('/')}/{path[len(target) :].lstrip('/')}"


def _is_below(path: str, folder: str) -> bool:
    return path.startswith(f"{folder.rstrip('/')}/")


@dataclass(slots=True)
class _Given:
    variables: list[tuple[str, str]]
    published: list[str]
    mounts: list[tuple[str, str]]
    entry_point: str = ""
    is_on_host: bool = False
    env_files: bool = False
    memory_bytes: int | None = None

    def take(self, name: str, value: str) -> None:
        if name in {"-e", "--env"}:
            key, assigned, content = value.partition("=")
            if assigned or key in _SECRETS:  # without a value it is the caller's own variable
                self.variables.append((key, content if assigned else "***"))
        elif name == "--env-file":
            self.env_files = True
        elif name in {"-p", "--publish"}:
            self.published.append(value)
        elif name in {"-v", "--volume"}:
            source, _, target = value.partition(":")
            self._mount(source, target.partition(":")[0])
        elif name == "--mount":
            parts = dict(part.partition("=")[::2] for part in value.split(","))
            source = parts.get("source") or parts.get("src") or ""
            self._mount(source, parts.get("target") or parts.get("destination") or parts.get("dst") or "")
        elif name in {"--network", "--net"}:
            self.is_on_host = value == "host"
        elif name in {"-m", "--memory"}:
            self.memory_bytes = _size(value)
        elif name == "--entrypoint":
            self.entry_point = value

    def _mount(self, source: str, target: str) -> None:
        if (target.startswith("/") and source.startswith(("/", "./", "../", "~/"))) or source in {".", "~"}:
            self.mounts.append((target, source))


def _size(text: str) -> int | None:
    """`6g`, `512m`, plain bytes: units of 1024; None for what docker would refuse."""
    found = _SIZE.fullmatch(text.strip().lower())
    return None if found is None else int(float(found[1]) * 1024 ** " kmg".index(found[2] or " ")) or None


def inside(words: Sequence[str]) -> ContainerRun | None:
    """What runs inside `docker run … IMAGE ARGUMENTS`, from the word after the program; None where nobody can tell."""
    rest = list(words[1:] if words[:1] == ["container"] else words)
    if rest[:1] != ["run"]:
        return None
    given = _Given([], [], [])
    index = 1
    while index < len(rest) and rest[index].startswith("-"):
        word = rest[index]
        name, equals, value = word.partition("=")
        if word in _SWITCHES or _SHORT_SWITCHES.fullmatch(word):
            given.is_on_host |= word == "--publish-all" or (not word.startswith("--") and "P" in word)
            index += 1
        elif word.startswith("--") and equals:
            given.take(name, value)
            index += 1
        elif not word.startswith("--") and len(word) > 2:
            given.take(word[:2], word[2:].removeprefix("="))
            index += 1
        else:
            given.take(word, rest[index + 1] if index + 1 < len(rest) else "")
            index += 2
    if index >= len(rest):
        return None
    found = _command(rest[index], rest[index + 1 :], given.entry_point)
    if found is None:
        return None
    own_words, own_variables = found
    published = None if given.is_on_host else tuple(given.published)
    return ContainerRun(
        own_words,
        (*own_variables, *given.variables),
        published,
        given.env_files,
        rest[index],
        tuple(given.mounts),
        given.memory_bytes,
    )


def _command(
    image: str, arguments: list[str], entry_point: str
) -> tuple[tuple[str, ...], tuple[tuple[str, str], ...]] | None:
    for pattern, program, variables in _IMAGES:
        if pattern.search(image):
            # Some name the program again after the image.
            again = bool(arguments) and arguments[0].rpartition("/")[2] in _NAMED
            before = (entry_point,) if entry_point else () if again else program
            return (*before, *arguments), variables
    if entry_point:
        return (entry_point, *arguments), ()
    if _FULL_IMAGE.search(image):
        return (("llama-server", *arguments[1:]), ()) if arguments[:1] in (["--server"], ["-s"]) else None
    is_named = bool(arguments) and arguments[0].rpartition("/")[2] in _NAMED
    return (tuple(arguments), ()) if is_named else None
