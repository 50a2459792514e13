"""Run the cells of a notebook in order, without Jupyter: ``python notebook.py NOTEBOOK [--write]``.

Prints the text that each code cell printed, as a JSON list; with ``--write`` the outputs go into the notebook.
"""

import ast
import base64
import contextlib
import io
import json
import os
import sys


def code_cells(notebook):
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def recorded_texts(notebook):
    """What each code cell of a stored notebook printed."""
    return [
        "".join("".join(output["text"]) for output in cell["outputs"] if output["output_type"] == "stream")
        for cell in code_cells(notebook)
    ]


def run(notebook):
    """Execute the code cells in one namespace and put their outputs into ``notebook``."""
    namespace = {"__name__": "__main__"}
    for number, cell in enumerate(code_cells(notebook), 1):
        tree = ast.parse("".join(cell["source"]), f"cell {number}")
        last = ast.Expression(tree.body.pop().value) if isinstance(tree.body[-1], ast.Expr) else None
        printed, value = io.StringIO(), None
        with contextlib.redirect_stdout(printed):
            exec(compile(tree, f"cell {number}", "exec"), namespace)
            if last is not None:
                value = eval(compile(last, f"cell {number}", "eval"), namespace)
        cell["execution_count"], cell["outputs"] = number, []
        if printed.getvalue():
            text = printed.getvalue().splitlines(keepends=True)
            cell["outputs"].append({"output_type": "stream", "name": "stdout", "text": text})
        if hasattr(value, "save"):  # a picture
            cell["outputs"].append(_picture(value, number))


def _picture(image, number):
    jpeg = io.BytesIO()
    image.save(jpeg, "jpeg", quality=80)
    data = {"image/jpeg": base64.b64encode(jpeg.getvalue()).decode(), "text/plain": ["<PIL.Image.Image>"]}
    return {"output_type": "execute_result", "execution_count": number, "metadata": {}, "data": data}


def main(path, write):
    with open(path, encoding="utf-8") as file:
        notebook = json.load(file)
    os.chdir(os.path.dirname(os.path.abspath(path)))  # where Jupyter runs it
    run(notebook)
    if write:
        with open(os.path.basename(path), "w", encoding="utf-8") as file:
            json.dump(notebook, file, indent=1, ensure_ascii=False)
            file.write("\n")
    print(json.dumps(recorded_texts(notebook)))


if __name__ == "__main__":
    main(sys.argv[1], "--write" in sys.argv[2:])
