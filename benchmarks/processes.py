"""One measurement in a process of its own, so that its peak memory is its own and nothing is
warm.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path


def run(program, arguments, tree, python=sys.executable, environment=None):
    """Run a program of this folder that writes its result as JSON to the path that it gets last.

    Args:
        program: path of the program.
        arguments: its arguments but the last.
        tree: the checkout whose ``mrcnn`` it imports, or None for none.
        python: the interpreter.
        environment: {name: value} of variables to set.

    Returns:
        The result, or {"error": text, "output": text} where the program failed.
    """
    variables = {"TF_CPP_MIN_LOG_LEVEL": "2", **os.environ, **(environment or {})}
    folders = [str(Path(tree).resolve())] if tree else []
    if python == sys.executable:
        # the packages of another interpreter are not for it
        folders += filter(None, [os.environ.get("PYTHONPATH")])
    variables["PYTHONPATH"] = os.pathsep.join(folders)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "result.json"
        done = subprocess.run(
            [str(python), str(program), *map(str, arguments), str(path)],
            env=variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        if done.returncode:
            said = done.stdout.strip().splitlines()
            return {
                "error": f"failed with exit status {done.returncode}: "
                + (said[-1] if said else "no message"),
                "output": done.stdout[-4000:],
            }
        return json.loads(path.read_text())
