"""A program of `cargo xtask gpu-bench` that does as it is told, by lines.

    python3 worker.py torch|simulated

    prepare LOAD          warms it up
    serve LOAD SECONDS    requests at the load's rate: [latency in ms, ...]
    work LOAD             begins work without end
    count                 [iterations done, seconds when the last was complete]
    stop                  ends the work
    trace LOAD TIMES      launches that the profiler sees in so many requests

Each answer is one line of JSON. A worker lives through many measurements, so
that none of them sees a program start.
"""

import json
import queue
import sys
import threading
import time


class Worker:
    def __init__(self, loads):
        self.loads = loads
        self.commands = queue.Queue()
        # Replaced as a whole, so that a reader never sees one half.
        self.progress = (0, 0.0)
        self.is_stopped = threading.Event()

    def run(self):
        threading.Thread(target=self.read, daemon=True).start()
        answer("ready")
        while (command := self.commands.get()) is not None:
            name, *arguments = command
            answer(getattr(self, name)(*arguments))

    def read(self):
        """Answers what must not wait for the work at hand."""
        for line in sys.stdin:
            words = line.split()
            if words == ["count"]:
                answer(self.progress)
            elif words == ["stop"]:
                self.is_stopped.set()
            else:
                self.commands.put(words)
        self.is_stopped.set()
        self.commands.put(None)

    def prepare(self, load):
        one = self.loads.load(load)
        for _ in range(20):
            one.iterate()
        return len(one.name)

    def serve(self, load, seconds):
        one = self.loads.load(load)
        latencies = []
        due = time.monotonic()
        end = due + float(seconds)
        while due < end:
            time.sleep(max(0.0, due - time.monotonic()))
            start = time.monotonic()
            one.iterate()
            latencies.append((time.monotonic() - start) * 1e3)
            due = max(due + 1 / one.per_second, time.monotonic())
        return latencies

    def work(self, load):
        one = self.loads.load(load)
        self.is_stopped.clear()
        self.progress = (0, time.monotonic())
        answer("working")
        done = 0
        while not self.is_stopped.is_set():
            done += one.iterate()
            self.progress = (done, time.monotonic())
        return self.progress

    def trace(self, load, times):
        return self.loads.trace(self.loads.load(load), int(times))


def answer(what):
    print(json.dumps(what), flush=True)


if __name__ == "__main__":
    if sys.argv[1] == "torch":
        import torch_loads as loads
    else:
        import simulated_loads as loads
    Worker(loads).run()
