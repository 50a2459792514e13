"""Print the facts about this machine that a bug report needs: ``python -m paddle_rtseg.env``."""

import argparse

from rtseg_inference.arguments import Parser


def parser() -> argparse.ArgumentParser:
    return Parser(
        prog="python -m paddle_rtseg.env",
        description="Print versions, devices, CPU settings and Paddle's features on this machine, for bug reports.",
    )


def main(args: argparse.Namespace) -> None:
    from paddle_rtseg.benchmark import machine

    groups = machine.facts()
    width = max(len(name) for group in groups.values() for name in group)
    for title, group in groups.items():
        print(f"{title}\n" + "\n".join(f"  {name:{width}}  {value}" for name, value in group.items()))


if __name__ == "__main__":
    from paddle_rtseg.tools.command import run

    run(parser, main)
