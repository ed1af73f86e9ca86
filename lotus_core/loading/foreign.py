"""What a file is that is not safetensors: refused by name, with the reason and the way out."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO, Final, NoReturn

from ..errors import CorruptFileError, StorageError, UnknownModelError, UnsafeFormatError

SAFE_SUFFIXES: Final = (".safetensors", ".sft")
PICKLE_SUFFIXES: Final = (".ckpt", ".pt", ".pth", ".bin", ".pkl", ".pickle")

_ZIP = b"PK\x03\x04"
_PICKLE_PROTOCOLS = tuple(bytes([0x80, protocol]) for protocol in range(2, 6))
_CONVERT = "take the .safetensors version of the same checkpoint"


def open_weights(path: Path) -> BinaryIO:
    """Open a weights file for reading; pickles are refused by their extension before a byte is read.

    Raises:
        UnsafeFormatError: The extension is that of pickled weights.
        UnknownModelError: There is no such file.
        StorageError: It is a folder, or may not be read.
    """
    if path.suffix.lower() in PICKLE_SUFFIXES:
        raise UnsafeFormatError(
            f"{path.name} holds pickled weights, and reading a pickle can run any code",
            path=path,
            found=f"the extension {path.suffix}",
            remedy=_CONVERT,
        )
    try:
        return path.open("rb")
    except FileNotFoundError as error:
        raise UnknownModelError(str(path), remedy="there is no such file; check the path") from error
    except OSError as error:
        raise StorageError(
            f"{path} cannot be read",
            found=error.strerror or type(error).__name__,
            remedy="check its permissions",
        ) from error


def raise_foreign(path: Path, head: bytes, size: int) -> NoReturn:
    """Raise the error for a file that does not begin as safetensors does.

    Args:
        path: The file.
        head: Its first nine bytes, or fewer where it has no more.
        size: Its length in bytes.

    Raises:
        UnsafeFormatError: It begins as a pickle or as the zip archive that torch puts pickles in.
        CorruptFileError: Anything else.
    """
    if head.startswith(_ZIP) or head.startswith(_PICKLE_PROTOCOLS):
        raise UnsafeFormatError(
            f"{path.name} is a pickle under another extension, and reading a pickle can run any code",
            path=path,
            found="a zip archive, as torch.save writes it"
            if head.startswith(_ZIP)
            else "a pickle's first bytes",
            remedy=_CONVERT,
        )
    raise CorruptFileError(f"{path.name} is not a safetensors file", path=path, **_wording(head, size))


def _wording(head: bytes, size: int) -> dict[str, str]:
    again = "fetch it again from its source"
    if size == 0:
        return {"found": "an empty file", "remedy": f"a download failed; {again}"}
    if head.lstrip()[:5].lower() in (b"<!doc", b"<html"):
        return {"found": "a web page", "remedy": f"the link led to a page, not to the file; {again}"}
    if head.startswith(b"version "):
        return {
            "found": "a Git LFS pointer",
            "remedy": "fetch the real file with `git lfs pull`, or from the Hub",
        }
    if head.startswith(b"GGUF"):
        return {"found": "a GGUF file", "remedy": "take the .safetensors version of the same checkpoint"}
    length = int.from_bytes(head[:8], "little")
    if len(head) == 9 and head[8:] == b"{" and length < 2**32:
        found = f"{size} bytes, its header alone takes {length + 8}"
        return {"found": found, "remedy": f"it was cut short; {again}"}
    return {"found": f"{size} bytes that begin with {head[:8].hex(' ')}", "remedy": again}
