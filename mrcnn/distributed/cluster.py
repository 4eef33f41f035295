"""The machines that train together, as the environment variable TF_CONFIG names them.

On each of two machines, with index 0 on the first and 1 on the second:

    TF_CONFIG='{"cluster": {"worker": ["10.0.0.1:12345", "10.0.0.2:12345"]},
                "task": {"type": "worker", "index": 0}}'
"""

import json
import os
from typing import NamedTuple


class Cluster(NamedTuple):
    """This machine among those that train together."""

    # "host:port" of each; the first is the chief, which alone writes files
    workers: tuple[str, ...]
    # of this one; hides tuple.index, which nobody calls
    index: int  # type: ignore[assignment]

    @property
    def is_chief(self):
        """Whether this machine writes the files."""
        return self.index == 0


def cluster():
    """The `Cluster` that TF_CONFIG names, or None where there is none, or one of a single machine.

    Raises:
        ValueError: TF_CONFIG is not what TensorFlow takes, or names roles other than chief and
            worker.
    """
    text = os.environ.get("TF_CONFIG", "").strip()
    if not text:
        return None
    try:
        config = json.loads(text)
        jobs = config.get("cluster") or {}
        addresses = {
            job: [str(address) for address in jobs.get(job, ())] for job in ("chief", "worker")
        }
        workers = (*addresses["chief"], *addresses["worker"])
        if len(workers) < 2:
            return None
        job, number = config["task"]["type"], int(config["task"]["index"])
        if not 0 <= number < len(addresses.get(job, ())):
            raise ValueError(f"its task is {job} {number}")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        reason = f"it has no {error}" if isinstance(error, KeyError) else error
        raise ValueError(
            f"TF_CONFIG is {text!r}, which names no machine to train on ({reason}): it should be "
            "like "
            '{"cluster": {"worker": ["host1:12345", "host2:12345"]}, "task": {"type": "worker", '
            '"index": 0}}, with '
            "the index of this machine"
        ) from error
    return Cluster(workers, number + (len(addresses["chief"]) if job == "worker" else 0))


def worker_count():
    """Number of machines that train together: 1 without TF_CONFIG."""
    found = cluster()
    return len(found.workers) if found else 1
