"""A model hub: whether it can be reached from here, and putting a folder on it."""

from pathlib import Path

from src.settings.errors import ConfigError


def require_hub() -> None:
    try:
        import huggingface_hub  # noqa: F401
    except ImportError as error:
        raise ConfigError("repo= needs the extra hub: uv sync --extra hub, or pip install huggingface_hub.") from error


def upload(folder: Path, repo: str, public: bool) -> str:
    """To the hub that HF_ENDPOINT names, with the token of `hf auth login` or HF_TOKEN. Private unless `public`.

    Returns the address. Raises ConfigError if it does not succeed: the folder stays.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError

    api = HfApi()
    try:
        api.create_repo(repo, private=not public, exist_ok=True)
        done = api.upload_folder(repo_id=repo, folder_path=folder, commit_message="Fine-tuned model")
    except (HfHubHTTPError, LocalTokenNotFoundError, OSError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ConfigError(
            f"repo={repo}: the upload did not succeed ({reason}). Log in with `hf auth login` or set HF_TOKEN; the "
            f"folder is complete, and `hf upload {repo} {folder}` tries again."
        ) from error
    return str(done)
