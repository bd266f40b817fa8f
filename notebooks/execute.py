"""Executes notebooks in place, so that a second run writes the same bytes.

    python notebooks/execute.py                       all notebooks beside this file
    python notebooks/execute.py 01_values_and_graphs  one of them, by name or by path
    python notebooks/execute.py --check               write nothing; exit status 1 where an output has changed

The kernel is the Python that runs this file. It sees neither Graphviz, so that graphs are drawn by the project's own
layout, nor your IPython and matplotlib settings. What a cell tagged `volatile` prints (a measured time, say) may change
from run to run. The picture of the cell tagged `cover` is also written to pictures/. Last digits and pixels depend on
the versions that a notebook records as `executed_with`; other traits of a processor, such as its vector width,
make no difference. Needs the extra `notebooks`.
"""

from __future__ import annotations

import argparse
import base64
import copy
import os
import platform
import re
import shutil
import sys
import tempfile
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import nbformat
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbformat import NotebookNode

HERE = Path(__file__).resolve().parent
CELL_SECONDS = 600  # after which a cell counts as stuck

METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {
        "codemirror_mode": {"name": "ipython", "version": 3},
        "file_extension": ".py",
        "mimetype": "text/x-python",
        "name": "python",
        "nbconvert_exporter": "python",
        "pygments_lexer": "ipython3",
    },
}
# Software: None, or a PNG would name the matplotlib that wrote it. log_level: a kernel that talks to its own machine
# need not warn that nothing is encrypted. exec_lines: our warnings are errors, unless a cell provokes one on purpose.
IPYTHON_CONFIG = """\
c.InlineBackend.print_figure_kwargs = {"bbox_inches": "tight", "metadata": {"Software": None}}
c.IPKernelApp.log_level = "ERROR"
c.InteractiveShellApp.exec_lines = [
    "import warnings, tinygrad_lite",
    "warnings.filterwarnings('error', category=tinygrad_lite.TrainingWarning)",
    "del warnings, tinygrad_lite",
]
"""
MATPLOTLIB_CONFIG = "figure.dpi: 110\nsavefig.dpi: figure\nsvg.hashsalt: tinygrad_lite\n"


class ThisPython(AsyncKernelManager):
    """A kernel in the running interpreter, whatever kernels are installed for the user."""

    @property
    def kernel_spec(self) -> KernelSpec:
        argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        return KernelSpec(argv=argv, display_name="Python 3", language="python")


def executed_with() -> str:
    """What determines last digits and pixels: interpreter, C library, and the packages that compute and draw."""
    library = " ".join(platform.libc_ver()).strip() or platform.system()
    packages = ", ".join(f"{name} {version(name)}" for name in ("numpy", "matplotlib"))
    return f"Python {sys.version_info.major}.{sys.version_info.minor}, {platform.machine()}, {library}, {packages}"


def run(path: Path, client_class: type[NotebookClient] = NotebookClient) -> NotebookNode:
    """The notebook at path, executed in a fresh kernel and normalised. The file stays as it is.

    RuntimeError names the notebook, the cell (the first is 1) and the error.
    """
    notebook = nbformat.read(path, as_version=4)
    started: list[int] = []
    client = client_class(
        notebook,
        kernel_manager_class=ThisPython,
        kernel_name="python3",
        timeout=CELL_SECONDS,
        record_timing=False,
        resources={"metadata": {"path": str(path.resolve().parent)}},
        on_cell_start=lambda cell, cell_index: started.append(cell_index),
    )
    with tempfile.TemporaryDirectory() as settings:
        try:
            client.execute(env=_environment(Path(settings)))
        except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
            name = f"{error.ename}: {error.evalue}" if isinstance(error, CellExecutionError) else type(error).__name__
            where = f"{path.name}, cell {started[-1] + 1 if started else 1} of {len(notebook.cells)}"
            details = re.sub(r"\x1b\[[0-9;]*m", "", str(error)).strip()
            raise RuntimeError(f"{where}: {name}\n\n{details}") from None
    notebook.metadata["executed_with"] = executed_with()
    return normalised(notebook)


def _environment(settings: Path) -> dict[str, str]:
    """The kernel's environment variables; its settings are written into the folder `settings`."""
    profile = settings / "profile_default"
    profile.mkdir()
    (profile / "ipython_kernel_config.py").write_text(IPYTHON_CONFIG, encoding="utf-8")
    (settings / "matplotlibrc").write_text(MATPLOTLIB_CONFIG, encoding="utf-8")
    folders = os.environ.get("PATH", os.defpath).split(os.pathsep)
    return os.environ | {
        "PATH": os.pathsep.join(folder for folder in folders if not shutil.which("dot", path=folder)),
        "PYTHONHASHSEED": "0",
        "IPYTHONDIR": str(settings),
        "MATPLOTLIBRC": str(settings / "matplotlibrc"),
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",
    }


def normalised(notebook: NotebookNode) -> NotebookNode:
    """A copy without what differs between two equal runs: timestamps, ids, versions, widget state."""
    notebook = copy.deepcopy(notebook)
    kept = {key: notebook.metadata[key] for key in ("executed_with",) if key in notebook.metadata}
    notebook.metadata = nbformat.from_dict(METADATA | kept)
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    for place, cell in enumerate(notebook.cells):
        cell.id = f"cell-{place:02d}"
        cell.metadata = nbformat.from_dict({"tags": cell.metadata.tags} if cell.metadata.get("tags") else {})
        if cell.cell_type == "code":
            cell.outputs = _normalised_outputs(cell.outputs)
    return notebook


def _normalised_outputs(outputs: Sequence[NotebookNode]) -> list[NotebookNode]:
    """Without widgets and memory addresses; text that the kernel happened to send in pieces is joined."""
    kept: list[NotebookNode] = []
    for output in outputs:
        if output.output_type == "stream" and kept and kept[-1].get("name") == output.name:
            kept[-1].text += output.text
            continue
        if "data" in output:
            output.data = nbformat.from_dict({kind: x for kind, x in output.data.items() if "widget" not in kind})
            if not output.data:
                continue
            if "text/plain" in output.data:  # <Drawing at 0x7f1fafd27290> would differ from run to run
                output.data["text/plain"] = re.sub(r" at 0x[0-9A-Fa-f]+", "", output.data["text/plain"])
        kept.append(output)
    return kept


def cover(notebook: NotebookNode) -> tuple[str, bytes] | None:
    """The picture of the cell tagged `cover`: its suffix, ".svg" or ".png", and what the file holds."""
    for cell in notebook.cells:
        if "cover" in cell.metadata.get("tags", ()):
            for output in cell.outputs:
                data = output.get("data", {})
                if "image/png" in data:
                    return ".png", base64.b64decode(data["image/png"])
                if found := re.search(r"data:image/svg\+xml;base64,([A-Za-z0-9+/=]+)", data.get("text/html", "")):
                    return ".svg", base64.b64decode(found[1])
    return None


def text(notebook: NotebookNode) -> str:
    """The notebook as written to its file."""
    return str(nbformat.writes(notebook)).rstrip("\n") + "\n"


def changed_cells(before: NotebookNode, after: NotebookNode) -> list[int]:
    """The code cells (the first cell is 1) whose outputs differ, except volatile ones."""
    pairs = enumerate(zip(normalised(before).cells, after.cells, strict=True), start=1)
    return [
        number
        for number, (old, new) in pairs
        if new.cell_type == "code" and "volatile" not in new.metadata.get("tags", ()) and old.outputs != new.outputs
    ]


def _find(name: str) -> Path:
    """A path as given, or a notebook beside this file, also without its suffix."""
    for path in Path(name), HERE / name, HERE / f"{name}.ipynb":
        if path.is_file():
            return path
    raise FileNotFoundError(f"no notebook {name!r}; here are {', '.join(p.stem for p in sorted(HERE.glob('*.ipynb')))}")


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(description="Execute notebooks in place, reproducibly.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="a notebook's name or path (default: all)")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 where an output has changed")
    options = parser.parse_args(arguments)
    try:
        paths = [_find(name) for name in options.names] or sorted(HERE.glob("*.ipynb"))
    except FileNotFoundError as error:
        parser.error(str(error))
    status = 0
    for path in paths:
        try:
            executed = run(path)
        except RuntimeError as error:
            print(error, file=sys.stderr)
            status = 1
            continue
        if options.check:
            committed = nbformat.read(path, as_version=4)
            changed = changed_cells(committed, executed)
            print(f"{path.name}: " + (f"outputs differ in cells {changed}" if changed else "as committed"))
            before, now = committed.metadata.get("executed_with"), executed.metadata["executed_with"]
            if changed and before != now:
                print(f"  committed with {before}\n  executed with  {now}")
            status = status or int(bool(changed))
        else:
            beside = path.with_suffix(".ipynb.new")
            beside.write_text(text(executed), encoding="utf-8", newline="\n")
            beside.replace(path)  # whole or not at all
            if picture := cover(executed):
                (path.parent / "pictures").mkdir(exist_ok=True)
                (path.parent / "pictures" / (path.stem + picture[0])).write_bytes(picture[1])
            print(f"{path.name}: executed")
    return status


if __name__ == "__main__":
    sys.exit(main())
