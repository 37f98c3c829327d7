"""A model of Ollama's store with everything that is loaded for it. Files are named, and only small JSON is read."""

from kvtop.domain.model_file import StoredModel
from kvtop.sources.model_files.json_object import read_object
from kvtop.sources.model_files.locate import ModelNotFoundError, OllamaManifest, ollama_manifest
from kvtop.sources.model_files.process_filesystem import ProcessFilesystem

_MEDIA = "application/vnd.ollama.image."
_JSON_BYTES = 1 << 20


def read_stored(name: str, filesystem: ProcessFilesystem) -> StoredModel:
    """Raises ModelNotFoundError for a name that the store does not have, ModelFileError for JSON that is none."""
    manifest = ollama_manifest(name, filesystem)
    models = _of(manifest, "model")
    if not models:
        raise ModelNotFoundError(name, "the manifest names no GGUF model", (manifest.path,))
    parameters: dict[str, object] = {}
    for blob in _of(manifest, "params"):
        parameters |= read_object(filesystem.ours(blob), _JSON_BYTES)
    config = {} if manifest.config_path is None else read_object(filesystem.ours(manifest.config_path), _JSON_BYTES)
    family = config.get("model_family")
    return StoredModel(
        name,
        models[-1],
        projector_path=next(iter(_of(manifest, "projector")), None),
        draft_path=next(iter(_of(manifest, "draft")), None),
        adapter_paths=_of(manifest, "adapter"),
        parameters=parameters,
        family=family if isinstance(family, str) else "",
    )


def _of(manifest: OllamaManifest, part: str) -> tuple[str, ...]:
    return tuple(blob for media_type, blob in manifest.blobs if media_type == f"{_MEDIA}{part}")
