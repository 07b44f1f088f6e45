"""Time on a GPU: groups of calls between events, libraries in turns, inputs that rotate through more than the cache."""
import statistics
import time

ROTATE = 256 << 20  # bytes that the inputs of a row take together, so that none is in the cache when it is used again
MAX_SETS = 32
GROUP_US = 20_000.0
SHORT_US = 20.0  # calls below are timed as a graph's replay, without the launches' gaps


def sets_for(nbytes):
    return max(1, min(MAX_SETS, -(-ROTATE // max(1, nbytes))))


def events_us(t, calls, count):
    """Microseconds a call, of `count` calls."""
    start, end = t.cuda.Event(enable_timing=True), t.cuda.Event(enable_timing=True)
    start.record()
    for i in range(count):
        calls[i % len(calls)]()
    end.record()
    end.synchronize()
    return start.elapsed_time(end) * 1e3 / count


def graphed(t, calls):
    """One call that replays all of `calls`, or None where they cannot be captured."""
    graph = t.cuda.CUDAGraph()
    try:
        with t.cuda.graph(graph):
            for call in calls:
                call()
    except (RuntimeError, NotImplementedError):
        return None
    return graph.replay


def median_us(libraries, calls, rounds=5):
    """{name: (median, spread)} of calls[name], a list of functions; libraries = {name: module}. Spread: (largest -
    smallest) / median."""
    counts, replays = {}, {}
    for name, t in libraries.items():
        for call in calls[name][:3] * 3:
            call()
        t.cuda.synchronize()
        us = events_us(t, calls[name], len(calls[name]))
        if us < SHORT_US:
            copies = calls[name] * max(1, 16 // len(calls[name]))
            if replay := graphed(t, copies):
                replays[name] = ([replay], len(copies))
                replay()
                us = events_us(t, [replay], 2) / len(copies)
        counts[name] = max(3, round(GROUP_US / max(us, 0.5)))
    times = {name: [] for name in libraries}
    for _ in range(rounds):
        for name, t in libraries.items():
            functions, per = replays.get(name, (calls[name], 1))
            times[name].append(events_us(t, functions, max(1, counts[name] // per)) / per)
    return {name: (statistics.median(x), (max(x) - min(x)) / statistics.median(x)) for name, x in times.items()}


def host_us(t, call, count=1000, rounds=5):
    """Microseconds the host spends on a call that it does not wait for."""
    for _ in range(20):
        call()
    best = []
    for _ in range(rounds):
        t.cuda.synchronize()
        start = time.perf_counter()
        for _ in range(count):
            call()
        best.append((time.perf_counter() - start) / count * 1e6)
        t.cuda.synchronize()
    return statistics.median(best), (max(best) - min(best)) / statistics.median(best)
