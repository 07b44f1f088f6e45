"""Kills a small training run with SIGKILL at random moments and resumes it; the final weights must not differ in a bit.

    python bench/kill_resume.py --kills 200

A run is a bare loop with dropout, batch norm, a shuffling DataLoader, Adam and a schedule, which saves every third step.
Each process is killed after a random time; the next one resumes. A run that reaches its end is compared with one that
was never interrupted, and the next run begins, until there were so many kills.
"""
import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
import traceback

os.environ["FIRESEED_NUM_THREADS"] = "1"
EPOCHS, BATCH, SAMPLES, EVERY = 10, 16, 100, 3  # 7 steps an epoch, 70 in all


def run(folder):
    """The training run, from wherever it stands; writes folder/weights at its end."""
    import fireseed as fs
    from fireseed import nn
    from fireseed.train import Checkpoint
    from fireseed.utils.data import DataLoader, TensorDataset

    os.makedirs(folder, exist_ok=True)
    fs.manual_seed(0)
    x = fs.randn(SAMPLES, 8)
    loader = DataLoader(TensorDataset(x, x.sum(1).gt(0).long()), batch_size=BATCH, shuffle=True)
    model = nn.Sequential(nn.Linear(8, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.5), nn.Linear(32, 2))
    optimizer = fs.optim.Adam(model.parameters(), lr=0.01)
    scheduler = fs.optim.lr_scheduler.StepLR(optimizer, 3, gamma=0.7)
    checkpoint = Checkpoint(os.path.join(folder, "checkpoints"), model=model, optimizer=optimizer, scheduler=scheduler,
                            loader=loader)
    at = checkpoint.resume()
    step = at.get("step", 0)
    for epoch in range(at.get("epoch", 0), EPOCHS):
        for inputs, targets in loader:
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(inputs), targets).backward()
            optimizer.step()
            step += 1
            if step % EVERY == 0:
                checkpoint.save(epoch=epoch, step=step)
        scheduler.step()
    fs.save({"model": model.state_dict(), "optimizer": optimizer.state_dict(), "random": fs.get_rng_state()},
            os.path.join(folder, "weights"))


def start(folder, fork):
    """Starts the run in folder; returns a function that waits for its end and gives the exit code, negative if killed,
    and one that kills it."""
    if fork:
        pid = os.fork()
        if pid == 0:
            try:
                run(folder)
                os._exit(0)
            except BaseException:
                traceback.print_exc()
                os._exit(1)
        return lambda: os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), lambda: os.kill(pid, signal.SIGKILL)
    process = subprocess.Popen([sys.executable, os.path.abspath(__file__), "--run", folder])
    return process.wait, process.kill


def weights(folder):
    """The bytes of the final state of the run in folder."""
    with open(os.path.join(folder, "weights"), "rb") as file:
        return file.read()


def kill_and_resume(kills, seed=0, fork=False, folder=None):
    """(finished runs, kills during a save, seconds); RuntimeError where a resumed run ends with other bits."""
    generator, begin = random.Random(seed), time.perf_counter()
    with tempfile.TemporaryDirectory(dir=folder) as base:
        killed = runs = saving = 0
        alone = []  # seconds that a run takes which nobody kills; the first one warms up
        for name in ("first", "whole"):
            whole, at = os.path.join(base, name), time.perf_counter()
            if start(whole, fork)[0]() != 0:
                raise RuntimeError("the uninterrupted run failed")
            alone.append(time.perf_counter() - at)
        longest = min(alone) / 2 if fork else min(alone)  # a fork begins to train at once
        while killed < kills or runs == 0:
            place = os.path.join(base, f"run{runs}")
            code = -signal.SIGKILL
            while code == -signal.SIGKILL:
                wait, kill = start(place, fork)
                if killed < kills:
                    time.sleep(generator.uniform(0, longest))
                    kill()
                code = wait()
                if code == -signal.SIGKILL:
                    killed += 1
                    saved = os.path.join(place, "checkpoints")
                    saving += os.path.isdir(saved) and any(name.endswith(".tmp") for name in os.listdir(saved))
            if code != 0 or weights(place) != weights(whole):
                raise RuntimeError(f"after {killed} kills the resumed run {runs} ended with exit code {code}"
                                   + ("" if code else " and other bits"))
            runs += 1
    return runs, saving, time.perf_counter() - begin


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--fork", action="store_true", help="fork the processes off one that has imported fireseed")
    parser.add_argument("--folder", help="where the runs save; /dev/shm spares the disk")
    parser.add_argument("--run", metavar="FOLDER", help="(the run itself)")
    options = parser.parse_args()
    if options.run:
        run(options.run)
    else:
        if options.fork:
            import fireseed.nn
            import fireseed.optim.lr_scheduler
            import fireseed.train
            import fireseed.utils.data  # noqa: F401
        ends, during, seconds = kill_and_resume(options.kills, options.seed, options.fork, options.folder)
        print(f"{options.kills} kills (kill -9), {during} of them during a save; {ends} runs finished, all with the bits "
              f"of the uninterrupted run; {seconds:.1f} s")
