"""Files of a Zenodo record: size and checksum from the record itself, and a download that goes on where it stopped.

    entry = record_files(2603256)["val.h5"]             # {"size": ..., "checksum": "md5:..."}
    path = download(2603256, "val.h5", folder)          # says the size first, resumes, compares the checksum

LHCML_ZENODO takes the place of https://zenodo.org. A checksum that comes from the same server guards against a damaged
file, not against a server that lies: give your own where that matters.
"""

import hashlib
import json
import os
import re
import shutil
from pathlib import Path

from ..extras import require
from .cache import say
from .files import BadSample

ZENODO = "https://zenodo.org"
TIMEOUT = (20, 60)  # seconds to connect, seconds without a byte
TRIES = 4  # connections of one call
BLOCK = 2**16  # bytes; what a broken connection loses at most
MOST_RECORD = 2**24  # bytes of a record's JSON; some kB in truth
CHECKSUM = re.compile(r"(md5:[0-9a-f]{32}|sha256:[0-9a-f]{64})")


def record_files(record: int) -> dict:
    """Return the files of a Zenodo record: name -> {"size": bytes, "checksum": "md5:..."}.

    Raises:
        OSError: no network, no such record. BadSample: the answer is not a record.
        MissingExtra: pip install "lhcml-tutor[download]".
    Example:
        >>> os.environ["LHCML_ZENODO"] = "http://127.0.0.1:9"             # nobody listens here
        >>> record_files(2603256)
        Traceback (most recent call last):
        OSError: http://127.0.0.1:9/api/records/2603256 cannot be read; is there a network? ...
        >>> del os.environ["LHCML_ZENODO"]
    """
    url = f"{_base()}/api/records/{int(record)}"
    answer = _get(url, stream=True)
    try:
        text = b""
        for block in answer.iter_content(BLOCK):
            text += block
            if len(text) > MOST_RECORD:
                raise BadSample(
                    f"{url} answers with more than {MOST_RECORD // 2**20} MB, which is no record; try later"
                )
        files = json.loads(text)["files"]
        return {file["key"]: {"size": _size(file["size"]), "checksum": _checksum(file["checksum"])} for file in files}
    except BadSample:
        raise
    except (ValueError, KeyError, TypeError) as problem:
        raise BadSample(
            f"{url} does not answer with the files of a record ({type(problem).__name__}: {problem}); did the "
            "format change? What a browser has downloaded is read with public.fetch(name, path=...)"
        ) from problem
    except OSError as problem:
        raise _unreachable(url, problem) from problem
    finally:
        answer.close()


def download(record: int, key: str, folder, checksum: str | None = None) -> Path:
    """Return the path of one file of a record in a folder; fetched, if it is not there, and only then checked.

    An interrupted download leaves KEY.part, and the next call goes on from there. A file that is there was compared
    when it came, and is compared again where a checksum is given.

    Arguments:
        key: name of the file in the record.
        checksum: "md5:..." or "sha256:..."; without it, what the record says.
    Raises:
        ValueError: a checksum of another form, or no such file in the record. BadSample: another checksum.
        OSError: no network, the connection broke TRIES times, full disk.
    Example:
        >>> download(2603256, "val.h5", ".", checksum="1234")
        Traceback (most recent call last):
        ValueError: the checksum '1234' must read md5:... (32 hexadecimal digits) or sha256:... (64)
    """
    if checksum is not None:
        try:
            checksum = _checksum(checksum)
        except ValueError:
            text = f"the checksum {checksum!r} must read md5:... (32 hexadecimal digits) or sha256:... (64)"
            raise ValueError(text) from None
    folder = Path(folder)
    if Path(key).name != key:
        raise ValueError(f"{key!r} is not the plain name of a file")
    if (path := folder / key).exists():
        return _compared(path, checksum)
    pooch = require("pooch", extra="download")
    pooch.get_logger().setLevel("ERROR")
    files = record_files(record)
    if key not in files:
        raise ValueError(f"record {record} has no file {key!r}; it has: {', '.join(sorted(files))[:500]}")
    size, known = files[key]["size"], checksum or files[key]["checksum"]
    url = f"{_base()}/api/records/{int(record)}/files/{key}/content"
    folder.mkdir(parents=True, exist_ok=True)
    resume = Resume(folder / f"{key}.part", size)
    if (free := shutil.disk_usage(folder).free) < size - resume.there():
        raise OSError(f"{key} needs {_megabytes(size)} and {folder} has {_megabytes(free)}; free some, set LHCML_CACHE")
    say(key, f"{_megabytes(size)} from {url}, {_megabytes(resume.there())} of it here already")
    try:
        pooch.retrieve(url, known, fname=key, path=folder, downloader=resume)
    except BadSample:
        raise
    except ValueError as problem:
        text = f"{url} gave a file whose checksum is not {known}; nothing was kept, call again ({problem})"
        raise BadSample(text) from problem
    return path


class Resume:
    """A downloader for pooch that keeps what it has in a .part file and asks the server for the rest alone.

    Arguments:
        part: path of the unfinished file; size: bytes of the whole file.
    Raises (when called):
        OSError: the connection broke, or the server answers with an error; what came stays in the .part file.
        BadSample: the server sends more than size.
    Example:
        >>> Resume("no_such_folder/val.h5.part", size=100).there()
        0
    """

    def __init__(self, part, size):
        self.part, self.size = Path(part), size

    def there(self):
        """Return how many bytes are there already."""
        return self.part.stat().st_size if self.part.exists() else 0

    def __call__(self, url, output_file, pooch=None, check_only=False):
        """Bring the file to output_file, as pooch asks."""
        problem = None
        for _ in range(TRIES):
            if self.there() > self.size:
                self.part.unlink()
            if self.there() == self.size and self.part.exists():
                break
            try:
                self._continue(url)
            except BadSample:
                raise
            except OSError as broken:  # the errors of requests are OSErrors
                if isinstance(broken, Refused):
                    raise
                problem = broken
        if self.there() != self.size:
            raise OSError(
                f"{url} stopped at {self.there():,} of {self.size:,} bytes; they are kept, call again to go on "
                f"({type(problem).__name__}: {problem})"
            ) from problem
        os.replace(self.part, output_file)

    def _continue(self, url):
        """Add to the .part file what one connection gives."""
        first = self.there()
        with _get(url, stream=True, headers={"Range": f"bytes={first}-"} if first else {}) as answer:
            resumed = answer.status_code == 206
            if resumed and not answer.headers.get("Content-Range", "").startswith(f"bytes {first}-"):
                raise OSError(f"asked for bytes from {first} on, got {answer.headers.get('Content-Range')}")
            with open(self.part, "ab" if resumed else "wb") as file:
                for block in answer.iter_content(BLOCK):
                    if file.tell() + len(block) > self.size:
                        file.truncate(0)
                        raise BadSample(f"{url} sends more than the {self.size:,} bytes of the record; try again later")
                    file.write(block)


class Refused(OSError):
    """The server answered, and the answer is no; trying again at once does not help."""


def _get(url, headers=None, **settings):
    requests = require("requests", extra="download")
    try:
        answer = requests.get(
            url, timeout=TIMEOUT, headers={"Accept-Encoding": "identity", **(headers or {})}, **settings
        )
    except requests.RequestException as problem:
        raise _unreachable(url, problem) from problem
    if answer.status_code >= 400:
        answer.close()
        reasons = {404: "there is no such record or file", 429: "too many requests, wait some minutes"}
        reason = reasons.get(answer.status_code, answer.reason or "try again later")
        raise Refused(f"{url} answers {answer.status_code}: {reason}")
    return answer


def _unreachable(url, problem):
    return OSError(f"{url} cannot be read; is there a network? ({type(problem).__name__}: {problem})"[:400])


def _base():
    return (os.environ.get("LHCML_ZENODO", "").strip() or ZENODO).rstrip("/")


def _size(value):
    if not isinstance(value, int) or value < 0:
        raise ValueError(f"size {value!r}")
    return value


def _checksum(value):
    if not CHECKSUM.fullmatch(str(value)):
        raise ValueError(f"checksum {value!r}")
    return value


def _compared(path, checksum):
    if checksum is not None:
        kind, _, wanted = checksum.partition(":")
        with open(path, "rb") as file:
            found = hashlib.file_digest(file, kind).hexdigest()
        if found != wanted:
            raise BadSample(f"{path} has the {kind} {found}, not {wanted}; delete it and fetch it again")
    return path


def _megabytes(size):
    return f"{size / 1e6:,.1f} MB"
