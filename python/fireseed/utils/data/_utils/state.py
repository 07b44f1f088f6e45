"""Where a pass over the data stands: what DataLoader.state_dict() saves and what a resumed pass does with it."""
import sys

from .... import _C
from ..sampler import (
    BatchSampler,
    RandomSampler,
    SequentialSampler,
    SubsetRandomSampler,
    WeightedRandomSampler,
)

# Samplers that draw from fireseed's generators and nothing else.
_KNOWN = (BatchSampler, RandomSampler, SequentialSampler, SubsetRandomSampler, WeightedRandomSampler)


def samplers_of(loader):
    """The loader's sampler and those inside it, outermost first."""
    found, at = [], loader.batch_sampler if loader.batch_sampler is not None else loader.sampler
    while at is not None and all(at is not one for one in found):
        found.append(at)
        at = getattr(at, "sampler", None)
    return found


def generators_of(loader):
    """The generators that loader and samplers were given, each once."""
    found = []
    for holder in (loader, *samplers_of(loader)):
        generator = getattr(holder, "generator", None)
        if isinstance(generator, _C.Generator) and all(generator is not g for g in found):
            found.append(generator)
    return [g for g in found if g is not _C.default_generator]


def global_streams(everything):
    """The states of the global generators: fireseed's and, with everything, those of random and numpy."""
    state = {"fireseed": _C.default_generator.get_state()}
    if everything:
        import random
        version, words, gauss = random.getstate()
        state["random"] = {"version": version, "words": _C.tensor(words), "gauss": gauss}
        if "numpy" in sys.modules:
            name, words, position, has_gauss, gauss = sys.modules["numpy"].random.get_state()
            state["numpy"] = {"name": name, "words": _C.tensor(words.tolist()), "position": position,
                              "has_gauss": has_gauss, "gauss": gauss}
    return state


def set_global_streams(state):
    """Puts back what global_streams() gave."""
    _C.default_generator.set_state(state["fireseed"])
    if "random" in state:
        import random
        saved = state["random"]
        random.setstate((saved["version"], tuple(saved["words"].tolist()), saved["gauss"]))
    if "numpy" in state:
        import numpy
        saved = state["numpy"]
        numpy.random.set_state((saved["name"], numpy.array(saved["words"].tolist(), numpy.uint32), saved["position"],
                                saved["has_gauss"], saved["gauss"]))


def all_known(loader):
    """Whether the loader's samplers are PyTorch's own."""
    return all(type(s) in _KNOWN for s in samplers_of(loader))


def _stateful(loader):
    """The loader's sampler that has a state of its own, or None."""
    for sampler in samplers_of(loader):
        if callable(getattr(sampler, "state_dict", None)) and callable(getattr(sampler, "load_state_dict", None)):
            return sampler
    return None


def capture(loader):
    """What the order of the next pass will be drawn from: streams, and the state of a sampler that has one."""
    sampler = _stateful(loader)
    return {"streams": global_streams(not all_known(loader)),
            "generators": [g.get_state() for g in generators_of(loader)],
            "sampler": None if sampler is None else sampler.state_dict()}


def restore(loader, state, streams=True):
    """Puts back what capture() gave; streams: the global ones, too."""
    if streams:
        set_global_streams(state["streams"])
    generators = generators_of(loader)
    if len(generators) != len(state["generators"]):
        raise ValueError(f"DataLoader.load_state_dict: the state has {len(state['generators'])} generators, this loader "
                         f"and its samplers have {len(generators)}; make the loader as it was when it was saved")
    for generator, saved in zip(generators, state["generators"], strict=True):
        generator.set_state(saved)
    if state["sampler"] is not None:
        sampler = _stateful(loader)
        if sampler is None:
            raise ValueError("DataLoader.load_state_dict: the state has a sampler's state, this loader's sampler has no "
                             "load_state_dict")
        sampler.load_state_dict(state["sampler"])
