"""One line per check, and the tally at the end."""

import contextlib
import time
import traceback

passed = []
failed = []


@contextlib.contextmanager
def check(name):
    """Runs the block as one named check; a failure is printed and the walk goes on."""
    began = time.monotonic()
    try:
        yield
    except Exception as error:  # any error is this check's failure, not the end of the walk
        failed.append(name)
        where = traceback.extract_tb(error.__traceback__)[-1]
        for frame in traceback.extract_tb(error.__traceback__):
            if "pywalk" in frame.filename and "report" not in frame.filename:
                where = frame
                break
        print(f"FAILED {name}: {type(error).__name__} {str(error)[:900]} ({where.filename.rsplit('/', 1)[-1]}:{where.lineno}, "
              f"after {time.monotonic() - began:.1f} s)", flush=True)
    else:
        passed.append(name)
        print(f"ok {name}", flush=True)


def same(found, expected):
    assert found == expected, f"{str(found)[:300]} is not {str(expected)[:300]}"


def tally():
    print(f"{len(passed)} passed, {len(failed)} failed", flush=True)
    return 1 if failed or not passed else 0
