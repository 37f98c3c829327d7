"""The TypedDict that documents are made of: pydantic makes their schemas, and needs what Python 3.12 keeps of one."""

import sys

if sys.version_info >= (3, 12):
    from typing import NotRequired, TypedDict
else:
    from typing import NotRequired

    from typing_extensions import TypedDict

__all__ = ["NotRequired", "TypedDict"]
