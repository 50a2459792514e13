"""``python -m paddle_rtseg`` lists the commands, with one line each."""

import ast
import os

from paddle_rtseg.plugin import OWN_COMMANDS, PADDLESEG_COMMANDS


def overview() -> str:
    """The commands and what each does: the first sentence of its module."""
    commands = {name: f"paddleseg.{name}" for name in PADDLESEG_COMMANDS}
    commands.update({name: f"paddle_rtseg.{name}" for name in OWN_COMMANDS})
    width = max(map(len, commands.values()))
    lines = [f"  python -m {shown:{width}}  {_purpose(name)}" for name, shown in commands.items()]
    return "Commands; each explains its flags with --help:\n\n" + "\n".join(lines)


def _purpose(command: str) -> str:
    # The modules are not imported: some of them import NumPy, OpenCV or Paddle.
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "tools", command + ".py")
    with open(path, encoding="utf-8") as file:
        first = (ast.get_docstring(ast.parse(file.read())) or "").splitlines()[0]
    return first.partition(": ``python")[0].rstrip(".")


if __name__ == "__main__":
    print(overview())
