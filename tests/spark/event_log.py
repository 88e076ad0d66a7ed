"""What Spark's event log says about an application: whether any work had to be done again, and how much was read."""

import collections
import glob
import json

Stage = collections.namedtuple("Stage", "id name tasks")


class EventLog:
    """Reads the one event log in a directory. What tasks that were launched after `again` (seconds since 1970) have read is counted by
    itself."""

    def __init__(self, directory, again=float("inf")):
        self.again = again
        self.stages = {}  # id: Stage
        self.attempts = collections.Counter()  # of each stage
        self.runs = collections.Counter()  # (stage, task index): times that it succeeded
        self.failures = collections.Counter()  # reason: tasks
        self.map_stages = set()
        self.executors = {"added": 0, "removed": 0}
        self.read = collections.Counter()
        self.read_again = collections.Counter()
        self.localities = collections.Counter()  # Spark's word: tasks that have read a shuffle
        paths = [path for path in glob.glob(f"{directory}/*") if not path.endswith(".inprogress")]
        assert len(paths) == 1, f"one event log was expected in {directory}: {paths}"
        with open(paths[0], encoding="utf-8") as file:
            for line in file:
                self._take(json.loads(line))

    def _take(self, event):
        kind = event["Event"]
        if kind == "SparkListenerStageSubmitted":
            info = event["Stage Info"]
            self.stages[info["Stage ID"]] = Stage(info["Stage ID"], info["Stage Name"], info["Number of Tasks"])
            self.attempts[info["Stage ID"]] += 1
        elif kind == "SparkListenerTaskEnd":
            self._take_task(event)
        elif kind == "SparkListenerExecutorAdded":
            self.executors["added"] += 1
        elif kind == "SparkListenerExecutorRemoved":
            self.executors["removed"] += 1

    def _take_task(self, event):
        reason = event["Task End Reason"]["Reason"]
        if reason != "Success":
            self.failures[reason] += 1
            return
        self.runs[event["Stage ID"], event["Task Info"]["Index"]] += 1
        if event["Task Type"] == "ShuffleMapTask":
            self.map_stages.add(event["Stage ID"])
        is_again = event["Task Info"]["Launch Time"] > 1000 * self.again
        read = self.read_again if is_again else self.read
        metrics = (event.get("Task Metrics") or {}).get("Shuffle Read Metrics", {})
        for name in ("Remote Blocks Fetched", "Local Blocks Fetched", "Remote Bytes Read", "Local Bytes Read",
                     "Fetch Wait Time"):
            read[name] += metrics.get(name, 0)
        merged = metrics.get("Push Based Shuffle", {})
        read["Merged Bytes Read"] += merged.get("Merged Local Bytes Read", 0)
        read["Merged Fetch Fallbacks"] += merged.get("Merged Fetch Fallback Count", 0)
        if not is_again and metrics.get("Remote Blocks Fetched", 0) + metrics.get("Local Blocks Fetched", 0) > 0:
            self.localities[event["Task Info"]["Locality"]] += 1

    @staticmethod
    def merged_percent(read):
        return 100 * read["Merged Bytes Read"] / max(1, read["Remote Bytes Read"] + read["Local Bytes Read"])

    def complaints(self):
        """Everything that must not be: work done twice, blocks that were not there."""
        found = [f"stage {stage} was run {count} times" for stage, count in self.attempts.items() if count > 1]
        found += [f"task {index} of stage {stage} succeeded {count} times"
                  for (stage, index), count in self.runs.items() if count > 1]
        found += [f"{count} tasks ended with {reason}" for reason, count in self.failures.items()
                  if reason in ("FetchFailed", "Resubmitted")]
        return found
