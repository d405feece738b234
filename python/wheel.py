"""wheel.py OUT: writes the package's wheel; needs nothing but Python.

A wheel of a package in pure Python is an archive with three files beside the
package's (https://packaging.python.org/en/latest/specifications/binary-distribution-format/).
The same sources give the same bytes.
"""

import base64
import hashlib
import pathlib
import re
import sys
import zipfile


def main() -> None:
    here = pathlib.Path(__file__).parent
    project = (here / "pyproject.toml").read_text()
    name, version, summary, python = (
        re.search(rf'^{key} = "(.*)"$', project, re.M).group(1)
        for key in ("name", "version", "description", "requires-python")
    )
    info = f"{name}-{version}.dist-info"
    files = {
        str(path.relative_to(here / "src")): path.read_bytes()
        for path in sorted((here / "src" / name).iterdir())
        if path.suffix in (".py", ".typed")
    }
    files[f"{info}/METADATA"] = (
        f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\nSummary: {summary}\n"
        f"License: Apache-2.0\nRequires-Python: {python}\n"
    ).encode()
    files[f"{info}/WHEEL"] = b"Wheel-Version: 1.0\nGenerator: xsched\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    record = ""
    for path, content in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        record += f"{path},sha256={digest},{len(content)}\n"
    files[f"{info}/RECORD"] = f"{record}{info}/RECORD,,\n".encode()
    out = pathlib.Path(sys.argv[1]) / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as wheel:
        for path, content in files.items():
            entry = zipfile.ZipInfo(path, (1980, 1, 1, 0, 0, 0))
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            wheel.writestr(entry, content)
    print(out)


main()
