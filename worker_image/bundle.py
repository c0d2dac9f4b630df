"""Makes the agent a folder that runs in any Linux image of the same architecture, whatever is in it.

Runs while the worker image is built, by the Python of a virtual environment that has the agent's dependencies:
`python bundle.py AGENT_SOURCE TARGET`. TARGET is the path where the folder is used later. It gets

- `bin/python3`, the interpreter;
- `lib`, every shared library that the interpreter or an extension module needs, and `ld.so`, the program loader:
  started as `ld.so --library-path TARGET/lib TARGET/bin/python3 ...` the interpreter finds them without a variable
  in the environment, which its commands would inherit;
- `lib/python3.X`, compiled: the standard library, and in the same folder the dependencies and the agent. It is
  found relative to `bin/python3`, and no site-packages is needed.

The standard library only; ends with exit code 1 and a sentence when the folder would not work by itself.
"""

from __future__ import annotations

import compileall
import py_compile
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from pathlib import Path

LOADER = "ld.so"
AGENT = "taskmaster_worker"
# The loader must not look into the cache of a foreign image; -I, -S: nor the interpreter into its variables and
# its site-packages; -B: nothing is written; UTF-8 whatever the image says about languages.
LOADER_OPTIONS = ("--inhibit-cache", "--library-path")
PYTHON_OPTIONS = ("-I", "-S", "-B", "-X", "utf8")

# Of no use to the agent: tests, tools, windows, and what brings a large library along. grpc has its own TLS.
STANDARD_LIBRARY_WITHOUT = (
    "__pycache__", "site-packages", "dist-packages", "config-*", "test", "tests", "idlelib", "tkinter", "turtle*",
    "ensurepip", "venv", "lib2to3", "distutils", "pydoc*", "unittest", "sqlite3", "curses", "dbm", "sitecustomize.py",
    "EXTERNALLY-MANAGED", "_test*", "_xx*", "xx*", "_ctypes_test*", "_tkinter*", "_sqlite3*", "_curses*", "_dbm*",
    "_gdbm*", "readline*", "nis.*", "ossaudiodev*", "_crypt.*", "_ssl.*", "_hashlib.*",
)  # fmt: skip
PACKAGES_WITHOUT = (
    "__pycache__", "pip", "pip-*", "setuptools", "setuptools-*", "pkg_resources", "_distutils_hack", "*.pth", "*.pyi",
)  # fmt: skip

# Run in the folder's own interpreter: what the agent imports, then every file whose code is in the process. (Tables
# of the system's locale may be mapped too; they are taken where they are found, and not missed.)
SELF_TEST = """
import grpc.aio
import taskmaster_worker.agent
with open("/proc/self/maps", encoding="utf-8") as maps:
    fields = [line.rstrip("\\n").split(maxsplit=5) for line in maps]
print(*sorted({path for _, rights, *_, path in fields if "x" in rights and path.startswith("/")}), sep="\\n")
"""


class BundleProblem(Exception):
    """The folder would not work by itself; the message says why."""


def start_command(target: Path) -> list[str]:
    """The interpreter of the folder with its options, to be followed by what it is to run."""
    loader = (str(target / "lib" / LOADER), *LOADER_OPTIONS, str(target / "lib"))
    return [*loader, str(target / "bin" / "python3"), *PYTHON_OPTIONS]


def make_bundle(agent: Path, target: Path) -> None:
    """Fills `target`, which must not exist.

    Raises:
        BundleProblem: something is missing here, or the result leans on something outside.
    """
    library = target / sys.platlibdir / f"python{sysconfig.get_python_version()}"
    copy_modules(agent, library)
    compile_modules(library)
    interpreter = target / "bin" / "python3"
    interpreter.parent.mkdir()
    shutil.copy(Path(sys.executable).resolve(), interpreter)
    copy_libraries([interpreter, *library.rglob("*.so")], target)
    check(target)


def copy_modules(agent: Path, library: Path) -> None:
    """The standard library with its extension modules, the dependencies and the agent, in one folder."""
    standard = Path(sysconfig.get_path("stdlib"))
    without = shutil.ignore_patterns(*STANDARD_LIBRARY_WITHOUT)
    shutil.copytree(standard, library, ignore=without)
    extensions = Path(sysconfig.get_config_var("DESTSHARED"))
    shutil.copytree(extensions, library / "lib-dynload", ignore=without, dirs_exist_ok=True)
    without = shutil.ignore_patterns(*PACKAGES_WITHOUT)
    for packages in {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}:
        shutil.copytree(packages, library, ignore=without, dirs_exist_ok=True)
    shutil.copytree(agent, library / AGENT, ignore=without)


def compile_modules(library: Path) -> None:
    """Leaves `x.pyc` in the place of each `x.py`; half as large, and read without a look at a second file."""
    # By hash and not by time: the same sources give the same bytes.
    mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
    if not compileall.compile_dir(library, quiet=1, legacy=True, invalidation_mode=mode):
        raise BundleProblem("Some modules could not be compiled; see above.")
    for source in library.rglob("*.py"):
        source.unlink()


def copy_libraries(programs: Iterable[Path], target: Path) -> None:
    """Copies the shared libraries of these files, all the way down, and the loader as `ld.so`."""
    for library in needed_libraries(programs):
        # What lies beside an extension module is found by its relative path, and was copied with it.
        if not library.is_relative_to(target):
            name = LOADER if library.name.startswith("ld") else library.name
            shutil.copy(library, target / "lib" / name)
    if not (target / "lib" / LOADER).exists():
        raise BundleProblem(f"{sys.executable} has no program loader.")


def needed_libraries(programs: Iterable[Path]) -> set[Path]:
    """Every shared library that the system's loader would load for these files, itself included.

    Raises:
        BundleProblem: one is not there.
    """
    listing = subprocess.run(["ldd", *map(str, programs)], capture_output=True, text=True, check=False)
    return set(read_listing(listing.stdout))


def read_listing(text: str) -> Iterator[Path]:
    """The paths in what `ldd` prints: `name => /path (0x...)`, `/path (0x...)`, and lines with neither.

    Raises:
        BundleProblem: a line says `not found`.
    """
    for line in text.splitlines():
        # Without a tab it is the name of the file that the next lines are about.
        if not line.startswith("\t"):
            continue
        name, _, found = line.strip().rpartition(" => ")
        if found.startswith("not found"):
            raise BundleProblem(f"The shared library {name} is missing in the base image.")
        if found.startswith("/"):
            yield Path(found.rpartition(" (")[0])


def check(target: Path) -> None:
    """Imports the agent by the folder's own interpreter, with an empty environment.

    Raises:
        BundleProblem: it fails, or a file outside the folder has a part in it.
    """
    command = [*start_command(target), "-c", SELF_TEST]
    trial = subprocess.run(command, env={}, cwd="/", capture_output=True, text=True, check=False)
    if trial.returncode:
        raise BundleProblem(f"The agent does not start from {target}:\n{trial.stderr}")
    outside = [path for path in trial.stdout.splitlines() if not Path(path).is_relative_to(target)]
    if outside:
        raise BundleProblem(f"The agent in {target} uses files outside: {', '.join(outside)}")


def main() -> int:
    """Takes the folder of the agent's sources and the folder to make."""
    agent, target = map(Path, sys.argv[1:])
    try:
        make_bundle(agent, target)
    except BundleProblem as problem:
        print(problem, file=sys.stderr)
        return 1
    files = [path for path in target.rglob("*") if path.is_file()]
    print(f"{target}: {len(files)} files, {sum(path.stat().st_size for path in files) / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
