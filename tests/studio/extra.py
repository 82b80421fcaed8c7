"""What the studio's tests need beside limner."""

import importlib


def is_missing(name):
    """Whether a package cannot be imported."""
    try:
        importlib.import_module(name)
    except ImportError:
        return True
    return False


MISSING = [name for name in ("fastapi", "httpx", "python_multipart", "uvicorn", "websockets") if is_missing(name)]
