# Rows of the recurrent layers and cells.
import numpy as np

from .core import E, S, i, row, t


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def lstm_step(gi, gh, h, c):
    a, f, u, o = np.split(gi + gh, 4, -1)
    c = sigmoid(f) * c + sigmoid(a) * np.tanh(u)
    return sigmoid(o) * np.tanh(c), c


def gru_step(gi, gh, h, c):
    (ir, iz, iu), (hr, hz, hu) = np.split(gi, 3, -1), np.split(gh, 3, -1)
    z = sigmoid(iz + hz)
    u = np.tanh(iu + sigmoid(ir + hr) * hu)
    return (1 - z) * u + z * h, c


def tanh_step(gi, gh, h, c):
    return np.tanh(gi + gh), c


def relu_step(gi, gh, h, c):
    return np.maximum(gi + gh, 0), c


def cell(step):
    def run(x, hx, w_ih, w_hh, b_ih=0, b_hh=0):
        h, c = hx if isinstance(hx, (list, tuple)) else (hx, None)
        h, c = step(x @ w_ih.T + b_ih, h @ w_hh.T + b_hh, h, c)
        return h if c is None else (h, c)

    return run


def layers(step):
    """Both calling forms: (input, hx, ..., batch_first) and (data, batch_sizes, hx, ...)."""

    def run(x, *args):
        packed = len(args) == 8 and not isinstance(args[-2], float) and isinstance(args[0], np.ndarray) and (
            args[0].dtype == np.int64
        )
        if packed:
            sizes, hx, params, biased, count, _, _, both = args
            at = np.concatenate([[0], np.cumsum(sizes)])
            x = [x[at[k] : at[k + 1]] for k in range(len(sizes))]
        else:
            hx, params, biased, count, _, _, both, first = args
            x = list(np.swapaxes(x, 0, 1) if first else x)
        h0, c0 = hx if isinstance(hx, (list, tuple)) else (hx, hx)
        directions = 2 if both else 1
        each = len(params) // (count * directions)
        hs, cs = [], []
        for layer in range(count):
            sides = []
            for d in range(directions):
                k = layer * directions + d
                p = params[k * each : (k + 1) * each]
                b_ih, b_hh = p[2:4] if biased else (0, 0)
                h, c, y = h0[k].copy(), c0[k].copy(), [None] * len(x)
                for s in range(len(x))[:: -1 if d else 1]:
                    n = len(x[s])
                    y[s], c_new = step(x[s] @ p[0].T + b_ih, h[:n] @ p[1].T + b_hh, h[:n], c[:n])
                    if each in (3, 5):
                        y[s] = y[s] @ p[-1].T
                    h[:n], c[:n] = y[s], c_new
                sides.append(y)
                hs.append(h)
                cs.append(c)
            x = [np.concatenate(s, -1) for s in zip(*sides)]
        if packed:
            y = np.concatenate(x)
        else:
            y = np.stack(x)
            y = np.swapaxes(y, 0, 1) if first else y
        return (y, np.stack(hs), np.stack(cs)) if isinstance(hx, (list, tuple)) else (y, np.stack(hs))

    return run


def w(*shape):
    return t(*shape, lo=-0.6, hi=0.6)


def params(gates, inputs, hidden, count=1, directions=1, biased=True, project=0):
    out = []
    for k in range(count):
        for _ in range(directions):
            width = inputs if k == 0 else (project or hidden) * directions
            out += [w(gates * hidden, width), w(gates * hidden, project or hidden)]
            out += [w(gates * hidden), w(gates * hidden)] if biased else []
            out += [w(project, hidden)] if project else []
    return out


def samples(gates, lstm):
    def state(*shape):
        return [t(*shape), t(*shape)] if lstm else t(*shape)

    made = [
        S(t(3, 2, 3), state(1, 2, 4), params(gates, 3, 4), True, 1, 0.0, False, False, False),
        S(t(2, 3, 3), state(1, 2, 4), params(gates, 3, 4, biased=False), False, 1, 0.0, True, False, True),
        S(t(3, 2, 2), state(4, 2, 3), params(gates, 2, 3, 2, 2), True, 2, 0.0, True, True, False),
        S(t(6, 2), i(fill=[3, 2, 1]), state(1, 3, 3), params(gates, 2, 3), True, 1, 0.0, False, False),
        S(t(6, 2), i(fill=[3, 2, 1]), state(2, 3, 3), params(gates, 2, 3, 1, 2), True, 1, 0.0, False, True),
        S(t(1, 5, 2), state(1, 5, 33), params(gates, 2, 33), True, 1, 0.0, False, False, False),
    ]
    return made


for name, gates, step in (("lstm", 4, lstm_step), ("gru", 3, gru_step), ("rnn_tanh", 1, tanh_step),
                          ("rnn_relu", 1, relu_step)):
    lstm = name == "lstm"
    two = (lambda *shape: [t(*shape), t(*shape)]) if lstm else t
    row(
        name,
        layers(step),
        samples(gates, lstm),
        out=("same",) * (3 if lstm else 2),
        tol=8,
        gtol=16,
        covers="rnn rnn_backward",
        big=S(t(5, 40, 40), two(1, 40, 72), params(gates, 40, 72), True, 1, 0.0, True, False, False),
        errors=[
            E((RuntimeError, ValueError), "", t(3, 2, 5), two(1, 2, 4), params(gates, 3, 4), True, 1, 0.0, False, False,
              False),
            E((RuntimeError, ValueError), "", t(3, 2, 3), two(1, 2, 5), params(gates, 3, 4), True, 1, 0.0, False, False,
              False),
            E((RuntimeError, ValueError), "", t(3, 2, 3), two(2, 2, 4), params(gates, 3, 4), True, 2, 0.0, False, False,
              False),
        ],
    )
    row(
        name + "_cell",
        cell(step),
        [
            S(t(2, 3), two(2, 4), w(gates * 4, 3), w(gates * 4, 4), w(gates * 4), w(gates * 4)),
            S(t(6, 3), two(6, 4), w(gates * 4, 3), w(gates * 4, 4)),
        ],
        out=("same",) * 2 if lstm else "same",
        tol=8,
        gtol=16,
        covers="rnn rnn_backward",
        big=S(t(40, 70), two(40, 130), w(gates * 130, 70), w(gates * 130, 130), w(gates * 130), w(gates * 130)),
    )
row(  # with a projection; big: a batch too small to share out
    "lstm",
    layers(lstm_step),
    [S(t(2, 2, 3), [t(1, 2, 2), t(1, 2, 3)], params(4, 3, 3, project=2), True, 1, 0.0, False, False, False)],
    out=("same",) * 3,
    tol=8,
    gtol=16,
    big=S(t(3, 9, 20), [t(1, 9, 200), t(1, 9, 200)], params(4, 20, 200), True, 1, 0.0, True, False, False),
)
