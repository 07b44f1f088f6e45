"""PyTorch's torch.hub: weights by URL, and models from a local folder with a hubconf.py."""
import hashlib
import os
import re
import sys
from urllib.parse import urlparse

__all__ = ["download_url_to_file", "get_dir", "help", "list", "load", "load_state_dict_from_url", "set_dir"]

_dir = None
_HASH = re.compile(r"-([a-f0-9]{8,})\.")


def get_dir():
    """The folder of downloads: set_dir's, else $TORCH_HOME/hub, else ~/.cache/torch/hub ($XDG_CACHE_HOME counts)."""
    if _dir is not None:
        return _dir
    cache = os.path.join(os.environ.get("XDG_CACHE_HOME", "~/.cache"), "torch")
    return os.path.join(os.path.expanduser(os.environ.get("TORCH_HOME", cache)), "hub")


def set_dir(d):
    """Sets the folder of downloads."""
    global _dir
    _dir = os.path.expanduser(d)


def download_url_to_file(url, dst, hash_prefix=None, progress=True):
    """Fetches url (http, https, ftp or file) to the path dst, which appears only when it is whole.

    hash_prefix: the SHA-256 of the content must begin with it, else RuntimeError. progress: a bar, where tqdm is there.
    """
    from urllib.request import Request, urlopen

    dst = os.path.expanduser(dst)
    part = f"{dst}.{os.getpid()}.part"
    digest = hashlib.sha256()
    try:
        with urlopen(Request(url, headers={"User-Agent": "fireseed.hub"})) as source, open(part, "wb") as out:
            bar = _bar(int(source.headers.get("Content-Length") or 0)) if progress else None
            while block := source.read(1 << 17):
                out.write(block)
                digest.update(block)
                if bar is not None:
                    bar.update(len(block))
            if bar is not None:
                bar.close()
        if hash_prefix is not None and not digest.hexdigest().startswith(hash_prefix):
            raise RuntimeError(f'invalid hash value (expected "{hash_prefix}", got "{digest.hexdigest()}")')
        os.replace(part, dst)
    finally:
        if os.path.exists(part):
            os.remove(part)


def _bar(total):
    try:
        from tqdm import tqdm
    except ImportError:
        return None
    return tqdm(total=total or None, unit="B", unit_scale=True, unit_divisor=1024)


def load_state_dict_from_url(url, model_dir=None, map_location=None, progress=True, check_hash=False, file_name=None,
                             weights_only=True):
    """fireseed.load of the file at url, which is downloaded to model_dir (get_dir()/checkpoints) unless it is there.

    check_hash: the file's name holds the first digits of its SHA-256 ("resnet18-f37072fd.pth"), which must be right.
    """
    from . import serialization

    model_dir = os.path.join(get_dir(), "checkpoints") if model_dir is None else model_dir
    os.makedirs(model_dir, exist_ok=True)
    name = file_name or os.path.basename(urlparse(url).path)
    path = os.path.join(model_dir, name)
    if not os.path.exists(path):
        print(f'Downloading: "{url}" to {path}', file=sys.stderr)
        found = _HASH.search(name) if check_hash else None
        download_url_to_file(url, path, found[1] if found else None, progress)
    return serialization.load(path, map_location=map_location, weights_only=weights_only)


def _hubconf(folder, source):
    if source != "local":
        raise NotImplementedError("fireseed.hub does not fetch repositories: clone it and pass its folder with "
                                  "source='local'")
    from importlib.util import module_from_spec, spec_from_file_location

    path = os.path.join(folder, "hubconf.py")
    if not os.path.exists(path):
        raise FileNotFoundError(f"hub: {path} does not exist")
    sys.path.insert(0, folder)
    try:
        spec = spec_from_file_location("hubconf", path)
        module = module_from_spec(spec)
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(folder)
    return module


def _entry(folder, model, source):
    entry = getattr(_hubconf(folder, source), model, None)
    if not callable(entry):
        raise RuntimeError(f"Cannot find callable {model} in hubconf")
    return entry


def load(repo_or_dir, model, *args, source="github", trust_repo=None, force_reload=False, verbose=True,
         skip_validation=False, **kwargs):
    """The model that the function `model` of the folder's hubconf.py makes; source must be 'local'."""
    return _entry(repo_or_dir, model, source)(*args, **kwargs)


def help(github, model, force_reload=False, skip_validation=False, trust_repo=None, source="local"):
    """The docstring of a function of hubconf.py."""
    return _entry(github, model, source).__doc__


def list(github, force_reload=False, skip_validation=False, trust_repo=None, verbose=True, source="local"):
    """The names of hubconf.py's functions."""
    module = _hubconf(github, source)
    return [name for name in dir(module) if callable(getattr(module, name)) and not name.startswith("_")]
