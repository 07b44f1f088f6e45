"""Calling a module with other tensors than its own."""


def _places(module):
    """(full name, module, table, key) of every parameter and buffer, tied ones under each of their names."""
    for prefix, m in module.named_modules(remove_duplicate=False):
        for table in (m._parameters, m._buffers):
            for key, value in table.items():
                if value is not None:
                    yield f"{prefix}.{key}" if prefix else key, m, table, key


def functional_call(module, parameters_and_buffers, args=None, kwargs=None, *, tie_weights=True, strict=False):
    """module(*args, **kwargs) with the tensors of the dict (by full name) in place of its parameters and buffers.

    tie_weights: a tensor given under one of a tied parameter's names stands for all of them. strict: the dict must have
    exactly the module's names. The module's own tensors are back afterwards; buffers that forward replaced are put
    into the dict.
    """
    places = list(_places(module))
    given = dict(parameters_and_buffers)
    names = {name for name, *_ in places}
    unexpected = [n for n in given if n not in names]
    missing = [n for n in names if n not in given]
    if tie_weights:
        tied = {}
        for name, _, table, key in places:
            tied.setdefault(id(table[key]), []).append(name)
        for group in tied.values():
            chosen = [n for n in group if n in given]
            if len({id(given[n]) for n in chosen}) > 1:
                raise ValueError(f"functional_call got multiple values for keys {sorted(chosen)}, which are tied. Consider "
                                 "using tie_weights=False")
            for n in group if chosen else ():
                given[n] = given[chosen[0]]
        missing = [n for n in names if n not in given]
    if strict and (unexpected or missing):
        lines = [f"{what} key(s): {', '.join(map(repr, sorted(keys)))}."
                 for what, keys in (("Unexpected", unexpected), ("Missing", missing)) if keys]
        raise RuntimeError(f"Error(s) in reparametrizing for {module._get_name()}:\n\t" + "\n\t".join(lines))
    for name in unexpected:  # names that the module does not know are passed over, modules that are not there are not
        module.get_submodule(name.rpartition(".")[0])
    args = () if args is None else args if isinstance(args, tuple) else (args,)
    swapped = [(name, table, key, table[key]) for name, _, table, key in places if name in given]
    try:
        for name, table, key, _ in swapped:
            table[key] = given[name]
        return module(*args, **(kwargs or {}))
    finally:
        for name, table, key, own in swapped:
            if name in parameters_and_buffers and table.get(key) is not parameters_and_buffers[name]:
                parameters_and_buffers[name] = table.get(key)
            table[key] = own
