"""Walks the whole protocol with the `websockets` package, as somebody's app would: `python walk.py`.

UNDER_TEST names the binary; without it the workspace's debug build is taken.
"""

import asyncio
import sys

from pywalk import blocks, delivery, frames, limits, messages, report

CHAPTERS = {"frames": frames, "messages": messages, "delivery": delivery, "blocks": blocks, "limits": limits}


async def main(names):
    for name in names or CHAPTERS:
        with report.check(f"chapter {name}: comes to its end"):
            await CHAPTERS[name].walk()
    return report.tally()


if __name__ == "__main__":
    sys.exit(asyncio.run(main(sys.argv[1:])))
