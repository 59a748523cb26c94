"""Group norm with trained scale and bias whose first derivatives are cheap to differentiate once more.

Trajectory matching differentiates gradients with respect to all parameters. PyTorch's second derivative of group norm is a
chain of over a hundred operations; here it is in closed form. In `bilp.matching.second_order` parameters are constants.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from bilp.nets import Network


class TrainedGroupNorm(nn.GroupNorm):
    """As nn.GroupNorm with scale and bias; to be differentiated twice, not three times."""

    def forward(self, input: Tensor) -> Tensor:
        """`[B, C, ...]` to the same shape."""
        result: Tensor = _Norm.apply(input.contiguous(), self.weight, self.bias, self.num_groups, self.eps)
        return result


def with_cheap_norms(network: Network) -> Network:
    """A copy whose group norms are `TrainedGroupNorm`, with parameters of the same names in the same order."""
    result = copy.deepcopy(network)
    for parent in list(result.modules()):
        for name, layer in parent.named_children():
            if type(layer) is nn.GroupNorm and layer.affine:
                cheap = TrainedGroupNorm(layer.num_groups, layer.num_channels, layer.eps)
                cheap.weight, cheap.bias = layer.weight, layer.bias
                setattr(parent, name, cheap)
    return result


class _Norm(Function):
    @staticmethod
    def forward(ctx: Any, maps: Tensor, weight: Tensor, bias: Tensor, groups: int, eps: float) -> Tensor:
        batch, channels = maps.shape[:2]
        result, mean, scale = torch.native_group_norm(maps, weight, bias, batch, channels, maps[0, 0].numel(), groups, eps)
        ctx.save_for_backward(maps, weight, mean, scale)
        return result

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        maps, weight, mean, scale = ctx.saved_tensors
        gradient = gradient.contiguous()
        if not torch.is_grad_enabled():  # nobody differentiates again
            (batch, channels), values = maps.shape[:2], maps[0, 0].numel()
            sizes = (batch, channels, values, mean.shape[1], list(ctx.needs_input_grad[:3]))
            return (*torch.ops.aten.native_group_norm_backward(gradient, maps, mean, scale, weight, *sizes), None, None)
        return (*_NormGradient.apply(gradient, maps, weight, mean, scale), None, None)


class _NormGradient(Function):
    """P(w e), the sum of e z and the sum of e for the gradient e, per channel, with P(h) = r (h - mean h - z mean(h z)) per group.

    z = (x - m) r are the normalized maps, m and r mean and inverse deviation, y = w z + b the result. For cotangents v, s
    and t of the three, h = w e and u = P(v), which is symmetric, the derivative of <v, P(h)> + <s, sum e z> + <t, sum e> is

        w u + s z + t                                                                    with respect to e,
        sum e u                                                                          with respect to w,
        -r (mean(h z) u + mean(v z) P(h) + mean(h u) z) + P(s e)                         with respect to x,

    where the last follows from the formula in `bilp.matching.second_order`. Sums over the pixels of a channel of one sample come from
    the kernel of group norm's derivative, to which all samples are shown as channels of a single one.
    """

    @staticmethod
    def forward(ctx: Any, gradient: Tensor, maps: Tensor, weight: Tensor, mean: Tensor, scale: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        batch, channels = maps.shape[:2]
        result, with_z, alone = _project(gradient, maps, mean, scale, weight.repeat(batch))
        with_z, alone = with_z.view(batch, channels), alone.view(batch, channels)
        ctx.save_for_backward(gradient, maps, weight, mean, scale, with_z, alone)
        return result, with_z.sum(0), alone.sum(0)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, v: Tensor, s: Tensor, t: Tensor) -> tuple[Tensor | None, ...]:
        e, maps, w, m, r, *sums = ctx.saved_tensors
        (batch, channels), groups, count = maps.shape[:2], m.shape[1], maps[0, 0].numel()
        everywhere = [1] * (maps.dim() - 2)
        u, with_z, _ = _project(v.contiguous(), maps, m, r, None)
        e_u = (e * u).flatten(2).sum(2)
        weighted = torch.stack((*sums, e_u)) * torch.stack((w, s)).view(2, 1, 1, channels)
        (h_z, h, h_u), (se_z, se, _) = _means(weighted, groups, count)
        along = r * _means(with_z.view(batch, channels), groups, count)
        # -r h_z, r (s - along w), r^2 (along h_z - h_u - se_z) and a constant are the factors of u, e, x and 1 in the third.
        by_z = r * torch.addcmul(h_u + se_z, along, h_z, value=-1)
        less = r * torch.addcmul(torch.addcmul(se, along, h, value=-1), by_z, m, value=-1)
        by_u, by_x = r * h_z, r * by_z
        r, m, along, by_u, by_x, less = (_per_channel(value, channels) for value in (r, m, along, by_u, by_x, less))
        by_e, s_r = r * torch.addcmul(s, along, w, value=-1), s * r
        shift = torch.addcmul(t, s_r, m, value=-1)
        by_u, by_e, by_x, less, s_r, shift = (value.view(batch, channels, *everywhere) for value in (by_u, by_e, by_x, less, s_r, shift))
        to_maps = (e * by_e).addcmul_(u, by_u, value=-1).addcmul_(maps, by_x, value=-1).sub_(less)
        to_gradient = (u * w.view(1, channels, *everywhere)).addcmul_(maps, s_r).add_(shift)
        return to_gradient, to_maps, e_u.sum(0), None, None


def _project(gradient: Tensor, maps: Tensor, mean: Tensor, scale: Tensor, weight: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """P(w e) in the shape of the maps, and for every channel of every sample the sums of e z and of e, `[B * C]`.

    Args:
        gradient: e, `[B, C, ...]`.
        maps: x, likewise.
        mean: m, `[B, groups]`.
        scale: r, likewise.
        weight: w once for every sample, `[B * C]`, or None for ones.
    """
    rows, values = maps.shape[0] * maps.shape[1], maps[0, 0].numel()
    e, x = (value.reshape(1, rows, *maps.shape[2:]) for value in (gradient, maps))
    backward = torch.ops.aten.native_group_norm_backward
    result, with_z, alone = backward(e, x, mean.view(1, -1), scale.view(1, -1), weight, 1, rows, values, mean.numel(), [True, True, True])
    return result.view(maps.shape), with_z, alone


def _means(sums: Tensor, groups: int, pixels: int) -> Tensor:
    """Sums over the pixels of a channel, `[..., C]`, as means over all values of a group, `[..., groups]`."""
    members = sums.shape[-1] // groups
    return (sums if members == 1 else sums.unflatten(-1, (groups, members)).sum(-1)) / (members * pixels)


def _per_channel(values: Tensor, channels: int) -> Tensor:
    """Values of groups `[B, groups]` for each of their channels, `[B, C]`."""
    members = channels // values.shape[1]
    return values if members == 1 else values.repeat_interleave(members, dim=1, output_size=channels)
