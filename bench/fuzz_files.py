"""Loads mutated files of each format: never a crash, a hang, an unbounded allocation or an error of a wrong type.

    python bench/fuzz_files.py --count 20000

Every file is a good one with one to four mutations: bits, bytes, numbers, pieces cut out, doubled, moved or put in. Half
of them get their checksums put right afterwards, so that the mutation reaches what lies behind the checks. The process
may not grow by more than 128 MB of address space over what it had (RLIMIT_AS); a load may take 20 seconds at most.
"""
import argparse
import io
import json
import os
import pickle
import pickletools
import random
import resource
import signal
import sys
import time
import zipfile

os.environ.setdefault("FIRESEED_NUM_THREADS", "1")
ROOM = 128 << 20
NUMBERS = (0, 1, 2, 127, 128, 255, 256, 2**15, 2**16, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**62, 2**63 - 1, 2**64 - 1)
CODES = b"(.012FIJKMLNPQRSTUVXabcdeghijlopqrstu})]\x80\x81\x82\x83\x84\x85\x86\x87\x88\x89\x8a\x8bBC" \
        b"\x8c\x8d\x8e\x8f\x90\x91\x92\x93\x94\x95\x96"  # the instructions of pickles


def mutate(data, draw):
    """A copy of data with one to four mutations, drawn from a random.Random."""
    data = bytearray(data)
    for _ in range(draw.choice((1, 1, 1, 2, 3, 4))):
        if not data:
            break
        at, kind = draw.randrange(len(data)), draw.randrange(10)
        n = min(draw.choice((1, 2, 4, 8, 16, 64, 1024)), len(data) - at)
        if kind <= 1:
            data[at] ^= 1 << draw.randrange(8)
        elif kind == 2:
            data[at] = draw.randrange(256)
        elif kind == 3:
            data[at] = draw.choice(CODES)
        elif kind == 4:
            size = draw.choice((2, 4, 8))
            data[at:at + size] = (draw.choice(NUMBERS) % 256**size).to_bytes(size, draw.choice(("little", "big")))
        elif kind == 5:
            del data[at:at + n]
        elif kind == 6:
            data[at:at] = data[at:at + n]
        elif kind == 7:
            data[at:at] = bytes(draw.choice(CODES) for _ in range(min(n, 16)))
        elif kind == 8:
            to = draw.randrange(len(data))
            data[to:to + n] = data[at:at + n]
        else:
            del data[at:]
    return bytes(data)


def example(fs):
    """An object with a bit of everything."""
    from collections import OrderedDict
    net = fs.nn.Sequential(fs.nn.Linear(3, 2), fs.nn.BatchNorm1d(2))
    optimizer = fs.optim.Adam(net.parameters())
    net(fs.ones(2, 3)).sum().backward()
    optimizer.step()
    x = fs.arange(6.0).view(2, 3)
    return {"model": net.state_dict(), "optimizer": optimizer.state_dict(), "views": [x, x.t(), x[:, 1]], "flags": fs.ones(3) > 0,
            "half": fs.ones(2, dtype=fs.bfloat16), "none": None, "text": "a" * 40, "data": b"\0\xff", "set": {1, 2},
            "numbers": (1, -2, 2.5, 2**40), "ordered": OrderedDict(a=1), "parameter": fs.nn.Parameter(fs.ones(2))}


def safetensors_maker(fs):
    """mutated(draw) for safetensors files: with checksums, with the header's put right, and without any."""
    from fireseed.serialization._native import KEY, SUM, _header_sum
    out = io.BytesIO()
    fs.save(example(fs), out)
    whole = out.getvalue()
    length = int.from_bytes(whole[:8], "little")
    header, body = json.loads(whole[8:8 + length]), whole[8 + length:]
    plain = dict(header, __metadata__={})
    first = dict(header, __metadata__={KEY: json.dumps({"version": 1, "tree": json.loads(header["__metadata__"][KEY])["tree"]})})

    def file(head, rest):
        text = head if isinstance(head, bytes) else json.dumps(head).encode()
        return len(text).to_bytes(8, "little") + text + rest

    def mutated(draw):
        kind = draw.randrange(4)
        if kind == 0:
            return mutate(whole, draw)
        if kind == 1:
            return mutate(file(plain, body), draw)
        if kind == 2:
            return mutate(file(first, body), draw)
        text = mutate(header["__metadata__"][KEY].encode(), draw).decode("latin1")
        repaired = dict(header, __metadata__={KEY: text})
        repaired["__metadata__"][SUM] = _header_sum(repaired)
        return file(repaired, body)
    return mutated, whole


def zip_maker(fs):
    """mutated(draw) for PyTorch's zip files: the whole archive, or its pickle with the archive put right around it."""
    out = io.BytesIO()
    fs.save(example(fs), out, format="torch")
    whole = out.getvalue()
    with zipfile.ZipFile(out) as archive:
        records = {name: archive.read(name) for name in archive.namelist()}

    def mutated(draw):
        if draw.randrange(2):
            return mutate(whole, draw)
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w") as archive:
            for name, data in records.items():
                archive.writestr(name, mutate(data, draw) if name.endswith("data.pkl") else data)
        return file.getvalue()
    return mutated, whole


def stream_maker(fs):
    """mutated(draw) for PyTorch's older files, from one by torch.save; no checksums there."""
    with open(os.path.join(os.path.dirname(__file__), "..", "tests", "data", "checkpoint_legacy.pt"), "rb") as file:
        whole = file.read()
    stream, ends = io.BytesIO(whole), []
    for _ in range(4):  # magic number, version, system, object
        for _ in pickletools.genops(stream):
            pass
        ends.append(stream.tell())

    def mutated(draw):
        if draw.randrange(2):
            return mutate(whole, draw)
        return whole[:ends[2]] + mutate(whole[ends[2]:ends[3]], draw) + whole[ends[3]:]
    return mutated, whole


def touch(value, fs, depth=0):
    """Reads what was loaded, so that a tensor on wrong memory shows."""
    if depth > 6:
        return
    if isinstance(value, fs.Tensor):
        if value.numel() <= 4096:
            value.tolist()
    elif isinstance(value, dict):
        for item in list(value.values())[:100]:
            touch(item, fs, depth + 1)
    elif isinstance(value, (list, tuple)):
        for item in value[:100]:
            touch(item, fs, depth + 1)


FORMATS = {"safetensors": safetensors_maker, "torch-zip": zip_maker, "torch-legacy": stream_maker}


def fuzz(name, count, seed=0):
    """Loads count mutated files of a format; a dict of figures. RuntimeError at the first that does what none may."""
    import fireseed as fs
    from fireseed.serialization import DamagedFileError
    mutated, whole = FORMATS[name](fs)
    touch(fs.load(io.BytesIO(whole)), fs)
    with open("/proc/self/statm") as file:
        used = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + ROOM, resource.getrlimit(resource.RLIMIT_AS)[1]))
    resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    figures = {"loaded": 0, "damaged": 0, "refused": 0, "unsupported": 0}
    slowest, begin = 0.0, time.perf_counter()
    for i in range(count):
        data = mutated(random.Random(f"{seed} {i}"))
        signal.alarm(20)
        start = time.perf_counter()
        try:
            touch(fs.load(io.BytesIO(data), weights_only=(None, False)[i % 2]), fs)
            figures["loaded"] += 1
        except DamagedFileError as error:
            if "memory" in str(error):  # the file made load ask for more than there is
                raise
            figures["damaged"] += 1
        except pickle.UnpicklingError:
            figures["refused"] += 1
        except NotImplementedError:
            figures["unsupported"] += 1
        except BaseException as error:
            raise RuntimeError(f"{name}, seed {seed}, file {i} ({len(data)} bytes): {type(error).__name__}: {error}") from error
        slowest = max(slowest, time.perf_counter() - start)
        signal.alarm(0)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - resident
    return {"files": count, **figures, "file_kb": round(len(whole) / 1024, 1), "grown_mb": round(grown / 1024, 1),
            "slowest_ms": round(slowest * 1e3, 1), "seconds": round(time.perf_counter() - begin, 1)}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--count", type=int, default=20000, help="files of each format")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--format", choices=list(FORMATS), help="one format only")
    options = parser.parse_args()
    for kind in [options.format] if options.format else FORMATS:
        pid = os.fork()  # each format in a process of its own, so that a crash is seen
        if pid == 0:
            try:
                print(kind, fuzz(kind, options.count, options.seed), flush=True)
            except BaseException:
                import traceback
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        if code:
            sys.exit(f"{kind}: ended with {code}")
