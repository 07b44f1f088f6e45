"""Multi-head attention composed of projections and scaled dot product attention."""
import math

from ... import _C
from . import _nn


def _merge_masks(attn_mask, key_padding_mask, batch, heads, length, source, dtype):
    """Both masks as one additive float mask (batch * heads or 1, length, source), or None."""
    def as_float(mask):
        if mask.dtype == _C.bool:
            return _C.zeros(tuple(mask.shape), dtype=dtype, device=mask.device).masked_fill(mask, -math.inf)
        return mask.to(dtype)

    merged = None
    if attn_mask is not None:
        merged = as_float(attn_mask)
        if merged.dim() == 2:
            if tuple(merged.shape) != (length, source):
                raise RuntimeError(f"The shape of the 2D attn_mask is {tuple(merged.shape)}, but should be "
                                   f"{(length, source)}.")
            merged = merged.unsqueeze(0)
        elif merged.dim() == 3:
            if tuple(merged.shape) != (batch * heads, length, source):
                raise RuntimeError(f"The shape of the 3D attn_mask is {tuple(merged.shape)}, but should be "
                                   f"{(batch * heads, length, source)}.")
        else:
            raise RuntimeError(f"attn_mask's dimension {merged.dim()} is not supported")
    if key_padding_mask is not None:
        if tuple(key_padding_mask.shape) != (batch, source):
            raise AssertionError(f"expecting key_padding_mask shape of {(batch, source)}, but got "
                                 f"{tuple(key_padding_mask.shape)}")
        padding = as_float(key_padding_mask).reshape(batch, 1, 1, source).expand(batch, heads, 1, source)
        padding = padding.reshape(batch * heads, 1, source)
        merged = padding if merged is None else merged + padding
    return merged


def multi_head_attention_forward(query, key, value, embed_dim_to_check, num_heads, in_proj_weight, in_proj_bias, bias_k,
                                 bias_v, add_zero_attn, dropout_p, out_proj_weight, out_proj_bias, training=True,
                                 key_padding_mask=None, need_weights=True, attn_mask=None,
                                 use_separate_proj_weight=False,
                                 q_proj_weight=None, k_proj_weight=None, v_proj_weight=None, static_k=None,
                                 static_v=None, average_attn_weights=True, is_causal=False):
    """Multi-head attention: query (L, N, E), key and value (S, N, E) -> (L, N, E) and the weights (N, L, S) or None.

    The batch dimension N may be missing. Masks: True or -inf hides a position.
    """
    batched = query.dim() == 3
    if query.dim() not in (2, 3) or key.dim() != query.dim() or value.dim() != query.dim():
        raise AssertionError("query should be unbatched 2D or batched 3D tensor and key and value of the same "
                             "dimension, but "
                             f"received {query.dim()}-D, {key.dim()}-D and {value.dim()}-D tensors")
    if not batched:
        query, key, value = query.unsqueeze(1), key.unsqueeze(1), value.unsqueeze(1)
        key_padding_mask = None if key_padding_mask is None else key_padding_mask.unsqueeze(0)
    length, batch, embed = query.shape
    source = key.shape[0]
    if is_causal and attn_mask is None:
        raise RuntimeError("Need attn_mask if specifying the is_causal hint.")
    if embed != embed_dim_to_check:
        raise AssertionError(f"was expecting embedding dimension of {embed_dim_to_check}, but got {embed}")
    head = embed // num_heads
    if head * num_heads != embed:
        raise AssertionError(f"embed_dim {embed} not divisible by num_heads {num_heads}")
    if not use_separate_proj_weight:
        if key.shape != value.shape:
            raise AssertionError(f"key shape {key.shape} does not match value shape {value.shape}")
        if key is value and query is key:
            q, k, v = _nn.linear(query, in_proj_weight, in_proj_bias).chunk(3, -1)
        else:
            wq, wk, wv = in_proj_weight.chunk(3)
            bq, bk, bv = (None,) * 3 if in_proj_bias is None else in_proj_bias.chunk(3)
            q, k, v = _nn.linear(query, wq, bq), _nn.linear(key, wk, bk), _nn.linear(value, wv, bv)
    else:
        if key.shape[:2] != value.shape[:2]:
            raise AssertionError(f"key's sequence and batch dims {key.shape[:2]} do not match value's "
                                 f"{value.shape[:2]}")
        bq, bk, bv = (None,) * 3 if in_proj_bias is None else in_proj_bias.chunk(3)
        q, k, v = (_nn.linear(query, q_proj_weight, bq), _nn.linear(key, k_proj_weight, bk),
                   _nn.linear(value, v_proj_weight, bv))
    causal = is_causal and key_padding_mask is None and not need_weights
    if causal:  # the hint stands for the mask, whose hidden half then costs nothing
        attn_mask = None
    mask = _merge_masks(attn_mask, key_padding_mask, batch, num_heads, length, source, q.dtype)
    extra = 0
    if bias_k is not None and bias_v is not None:
        k = _C.cat([k, bias_k.expand(1, batch, embed)])
        v = _C.cat([v, bias_v.expand(1, batch, embed)])
        extra += 1
    def heads(x):
        return x.reshape(x.shape[0], batch * num_heads, head).transpose(0, 1)  # (N h, length, head)
    q = heads(q)
    k = heads(k) if static_k is None else static_k
    v = heads(v) if static_v is None else static_v
    if add_zero_attn:
        zeros = _C.zeros(batch * num_heads, 1, head, dtype=k.dtype, device=k.device)
        k, v = _C.cat([k, zeros], 1), _C.cat([v, zeros], 1)
        extra += 1
    if mask is not None and extra:
        mask = _C.cat([mask, _C.zeros(mask.shape[0], mask.shape[1], extra, dtype=mask.dtype, device=mask.device)], 2)
    source = k.shape[1]
    dropout_p = dropout_p if training else 0.0
    if need_weights:
        scores = (q * math.sqrt(1.0 / head)) @ k.transpose(-2, -1)
        if mask is not None:
            scores = scores + mask
        weights = _nn.softmax(scores, -1)
        if dropout_p > 0.0:
            weights = _nn.dropout(weights, dropout_p, True)
        out = (weights @ v).transpose(0, 1)  # (L, N h, head)
        weights = weights.reshape(batch, num_heads, length, source)
        if average_attn_weights:
            weights = weights.mean(1)
        if not batched:
            weights = weights.squeeze(0)
    else:
        weights = None
        if mask is not None:
            mask = mask.unsqueeze(0) if mask.shape[0] == 1 else mask.reshape(batch, num_heads, -1, source)
        def four(x):
            return x.reshape(batch, num_heads, x.shape[1], head)
        out = _nn.scaled_dot_product_attention(four(q), four(k), four(v), mask, dropout_p, causal)
        out = out.permute(2, 0, 1, 3)  # (L, N, h, head)
    out = out.reshape(length * batch, embed)
    out = _nn.linear(out, out_proj_weight, out_proj_bias).reshape(length, batch, -1)
    return (out if batched else out.squeeze(1)), weights
