"""threads.py THREADS BY SECONDS: threads of one process, one of them favoured.

Each thread multiplies 2048 x 2048 matrices on a stream of its own and waits for
the result, again and again; the first does so 16 times in a row every 50 ms and
measures how long that takes. BY says how the others are put below it: `none`, or
`hint`. Prints a line of JSON: the
favoured thread's latencies (ms), and the multiplications per second of all.
"""

import json
import sys
import threading
import time

import torch

import xsched_hints as xsched

SIZE, WARM_S = 2048, 1.0
OWN, PERIOD_S = 16, 0.05


def main() -> None:
    threads, by, seconds = int(sys.argv[1]), sys.argv[2], float(sys.argv[3])
    # A thread that is woken must not wait 5 ms for the interpreter.
    sys.setswitchinterval(1e-4)
    torch.set_grad_enabled(False)
    a = torch.randn(SIZE, SIZE, device="cuda")
    torch.mm(a, a)
    torch.cuda.synchronize()
    counts, latencies = [0] * threads, []
    begin = time.perf_counter() + WARM_S
    end = begin + seconds

    def work(number: int) -> None:
        if number > 0 and by == "hint":
            xsched.set_thread("low")
        stream = torch.cuda.Stream()
        out = torch.empty_like(a)
        with torch.cuda.stream(stream):
            while True:
                start = time.perf_counter()
                if start >= end:
                    return
                own = OWN if number == 0 else 1
                for _ in range(own):
                    torch.mm(a, a, out=out)
                stream.synchronize()
                now = time.perf_counter()
                if start >= begin and now < end:
                    counts[number] += own
                    if number == 0:
                        latencies.append((now - start) * 1e3)
                if number == 0:
                    time.sleep(max(0.0, start + PERIOD_S - now))

    others = [threading.Thread(target=work, args=(n,)) for n in range(1, threads)]
    for other in others:
        other.start()
    work(0)
    status = xsched.status()
    for other in others:
        other.join()
    print(
        json.dumps(
            {
                "latencies_ms": latencies,
                "all_per_s": sum(counts) / seconds,
                "joined": status.joined,
            }
        )
    )


main()
