"""Runs a notebook from its first cell to its last, in a folder of its own: `run.py NOTEBOOK [--save]`.

Exits with 1 at the first cell that fails. With --save the notebook is written back with its outputs.
"""

import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError


def main() -> int:
    file = Path(sys.argv[1])
    notebook = nbformat.read(file, as_version=4)
    with tempfile.TemporaryDirectory() as folder:
        client = NotebookClient(notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": folder}})
        try:
            client.execute()
        except CellExecutionError as error:
            print(error, file=sys.stderr)
            return 1
    cells = sum(cell.cell_type == "code" for cell in notebook.cells)
    print(f"{file.name}: {cells} cells ran")
    if "--save" in sys.argv[2:]:
        nbformat.write(notebook, file)
    return 0


if __name__ == "__main__":
    sys.exit(main())
