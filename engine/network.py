"""BlobNet, and its inference form, which computes the same with a quarter less work."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple, Self, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from engine.encoding import STATE_DIM
from engine.rules import ACTIONS, MAX_PLAYERS

Weights = dict[str, NDArray[np.float32]]

CAN_PACK = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")
PACKED_ROWS = 192
"""The batch that packed weights are laid out for; others work too."""


class NetworkConfig(NamedTuple):
    """The shape of a BlobNet; `--network EMB-LAYERS-HEADS-FF` on the command line."""

    embedding_dim: int = 256
    num_layers: int = 6
    num_heads: int = 8
    feedforward_dim: int = 1024

    @classmethod
    def parse(cls, text: str) -> NetworkConfig:
        """Read "256-6-8-1024". Raises ValueError with one line on anything else."""
        parts = text.split("-")
        if len(parts) != 4 or not all(part.isdecimal() and int(part) > 0 for part in parts):
            raise ValueError(f"network must be EMB-LAYERS-HEADS-FF like 256-6-8-1024, not {text!r}")
        config = cls(*map(int, parts))
        if config.embedding_dim % config.num_heads:
            raise ValueError(
                f"network {text!r}: the embedding ({config.embedding_dim}) must be a multiple "
                f"of the heads ({config.num_heads})"
            )
        return config

    def __str__(self) -> str:
        return "-".join(map(str, self))


class BlobNet(nn.Module):
    """Policy logits and a value for each seat, from one encoded position.

    A post-LN transformer encoder over a single token, then a policy and a value head.
    """

    def __init__(
        self,
        state_dim: int = STATE_DIM,
        embedding_dim: int = 256,
        num_layers: int = 6,
        num_heads: int = 8,
        feedforward_dim: int = 1024,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.config = NetworkConfig(embedding_dim, num_layers, num_heads, feedforward_dim)
        self.embedding = nn.Linear(state_dim, embedding_dim)
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(
                embedding_dim, num_heads, feedforward_dim, dropout, batch_first=True
            )
            for _ in range(num_layers)
        )
        self.policy_head = nn.Sequential(
            nn.Linear(embedding_dim, embedding_dim), nn.ReLU(), nn.Linear(embedding_dim, ACTIONS)
        )
        self.value_head = nn.Sequential(
            nn.Linear(embedding_dim, embedding_dim // 2),
            nn.ReLU(),
            nn.Linear(embedding_dim // 2, MAX_PLAYERS),
        )

    def forward(self, states: Tensor) -> tuple[Tensor, Tensor]:
        """[B, state_dim] to policy logits [B, ACTIONS] (unmasked) and value logits [B, 8].

        Value k, after a sigmoid, is the expected score ÷ (10 + cards) of the k-th seat from the
        mover; seats beyond the players mean nothing.
        """
        x = self.embedding(states)
        for layer in self.layers:
            x = encode_token(cast(nn.TransformerEncoderLayer, layer), x)
        return self.policy_head(x), self.value_head(x)


def encode_token(layer: nn.TransformerEncoderLayer, x: Tensor) -> Tensor:
    """A post-LN encoder layer on one token a row, [B, D] to [B, D].

    Softmax over a single score is 1: queries and keys change nothing and get no gradient, so they
    are not computed. Equal to `layer(x.unsqueeze(1)).squeeze(1)`, its gradients too.
    """
    attention = layer.self_attn
    dim, heads = attention.embed_dim, attention.num_heads
    values = F.linear(x, attention.in_proj_weight[2 * dim :], attention.in_proj_bias[2 * dim :])
    if layer.training and attention.dropout:
        # What is dropped is a head's one attention weight.
        weights = F.dropout(values.new_ones(len(x), heads, 1), attention.dropout)
        values = (values.view(len(x), heads, -1) * weights).view(len(x), dim)
    x = layer.norm1(x + layer.dropout1(attention.out_proj(values)))
    widened = layer.dropout(F.relu(layer.linear1(x)))
    return layer.norm2(x + layer.dropout2(layer.linear2(widened)))


class FoldedLinear(nn.Linear):
    """A linear layer of the inference form, its activation and residual included.

    On the CPU in bfloat16 torch's own layer rearranges all weights for oneDNN at every call; here
    that is done once, by `pack`, with the operators torch's compiler uses for it.
    """

    packed: Tensor | None = None

    def pack(self) -> None:
        """Rearrange the weights as they are now; nothing where it does not pay, or torch cannot."""
        self.packed = None
        if self.weight.device.type == "cpu" and self.weight.dtype is torch.bfloat16 and CAN_PACK:
            self.packed = torch.ops.mkldnn._reorder_linear_weight(self.weight, PACKED_ROWS)

    def forward(self, x: Tensor) -> Tensor:
        if self.packed is None:
            return F.linear(x, self.weight, self.bias)
        return torch.ops.mkldnn._linear_pointwise(x, self.packed, self.bias, "none", [], "")

    def relu(self, x: Tensor) -> Tensor:
        """ReLU of the layer's output."""
        if self.packed is None:
            return F.relu(F.linear(x, self.weight, self.bias), inplace=True)
        return torch.ops.mkldnn._linear_pointwise(x, self.packed, self.bias, "relu", [], "")

    def plus(self, x: Tensor, residual: Tensor) -> Tensor:
        """The layer's output plus `residual`."""
        if self.packed is None:
            return F.linear(x, self.weight, self.bias) + residual
        operator = torch.ops.mkldnn._linear_pointwise.binary
        return operator(x, residual, self.packed, self.bias, "add")


class InferenceNet(nn.Module):
    """The inference form: attention over one token is one linear map, folded with its residual.

    Softmax over a single score is 1, so queries and keys cancel: x + Wo(Wv x + bv) + bo is
    (I + Wo Wv) x + (Wo bv + bo), exactly. Equal to BlobNet in eval mode up to rounding.
    """

    def __init__(self, network: BlobNet) -> None:
        super().__init__()
        dim = network.config.embedding_dim
        # Built where the network is: its device is never an argument that can be forgotten.
        with torch.device(network.embedding.weight.device):
            self.embedding = FoldedLinear(network.embedding.in_features, dim)
            self.attention = nn.ModuleList(FoldedLinear(dim, dim) for _ in network.layers)
            self.norm1 = nn.ModuleList(nn.LayerNorm(dim) for _ in network.layers)
            self.widen = nn.ModuleList(
                FoldedLinear(dim, network.config.feedforward_dim) for _ in network.layers
            )
            self.narrow = nn.ModuleList(
                FoldedLinear(network.config.feedforward_dim, dim) for _ in network.layers
            )
            self.norm2 = nn.ModuleList(nn.LayerNorm(dim) for _ in network.layers)
            self.policy_head = nn.ModuleList(
                [FoldedLinear(dim, dim), FoldedLinear(dim, ACTIONS)],
            )
            self.value_head = nn.ModuleList(
                [FoldedLinear(dim, dim // 2), FoldedLinear(dim // 2, MAX_PLAYERS)],
            )
        self.requires_grad_(False)
        self.eval()
        self.refold(network)

    @torch.no_grad()
    def refold(self, network: BlobNet) -> None:
        """Take the weights of `network` again, in place: tensors keep device, dtype, address."""
        copy_linear(self.embedding, network.embedding)
        for i, layer in enumerate(network.layers):
            fold_attention(self.attention[i], layer.self_attn)  # type: ignore[arg-type]
            for mine, name in (
                (self.norm1, "norm1"),
                (self.widen, "linear1"),
                (self.narrow, "linear2"),
                (self.norm2, "norm2"),
            ):
                copy_linear(mine[i], layer.get_submodule(name))
        for head, theirs_head in (
            (self.policy_head, network.policy_head),
            (self.value_head, network.value_head),
        ):
            copy_linear(head[0], theirs_head[0])
            copy_linear(head[1], theirs_head[2])

        self.pack()

    def pack(self) -> Self:
        """Rearrange the weights for speed where that pays; again after `.to`."""
        for module in self.modules():
            if isinstance(module, FoldedLinear):
                module.pack()
        return self

    def forward(self, states: Tensor) -> tuple[Tensor, Tensor]:
        """As BlobNet.forward; values come through their sigmoid, in [0, 1]."""
        x = self.embedding(states)
        widen, narrow = folded(self.widen), folded(self.narrow)
        for i in range(len(self.attention)):
            x = self.norm1[i](self.attention[i](x))
            x = self.norm2[i](narrow[i].plus(widen[i].relu(x), x))
        policy = self.policy_head[1](folded(self.policy_head)[0].relu(x))
        value = self.value_head[1](folded(self.value_head)[0].relu(x))
        return policy, value.sigmoid_()


def folded(layers: nn.ModuleList) -> Sequence[FoldedLinear]:
    """The list with the type of its modules known."""
    return cast(Sequence[FoldedLinear], layers)


def copy_linear(mine: nn.Module, theirs: nn.Module) -> None:
    """Copy weight and bias of a linear or norm layer, converting to the target's dtype."""
    for name, parameter in mine.named_parameters():
        parameter.copy_(theirs.get_parameter(name))


def fold_attention(target: nn.Linear, attention: nn.MultiheadAttention) -> None:
    """Write I + Wo Wv and Wo bv + bo into `target`; computed in float64, rounded once."""
    # The meta device has no numbers to fold; shapes and devices are all it can check.
    dim = attention.embed_dim
    value_weight = attention.in_proj_weight[2 * dim :].double()
    value_bias = attention.in_proj_bias[2 * dim :].double()
    out_weight = attention.out_proj.weight.double()
    identity = torch.eye(dim, dtype=torch.float64, device=out_weight.device)
    target.weight.copy_(identity + out_weight @ value_weight)
    target.bias.copy_(out_weight @ value_bias + attention.out_proj.bias.double())


def weights_of(network: nn.Module) -> Weights:
    """A copy of the state dict as float32 numpy arrays: what travels to the workers."""
    return {k: v.detach().cpu().numpy().copy() for k, v in network.state_dict().items()}


def weights_hash(weights: Mapping[str, NDArray[np.float32]]) -> str:
    """16 hex digits that name a set of weights; equal exactly for equal names and numbers."""
    digest = hashlib.sha256()
    for name in sorted(weights):
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(weights[name]).tobytes())
    return digest.hexdigest()[:16]


def load_weights(network: nn.Module, weights: Weights) -> None:
    """Load arrays from `weights_of` in place, wherever the network lives."""
    device = next(network.parameters()).device
    network.load_state_dict({k: torch.from_numpy(v).to(device) for k, v in weights.items()})


def build_network(config: NetworkConfig, device: torch.device | str, seed: int = 0) -> BlobNet:
    """A BlobNet with seeded random weights, on `device`, in eval mode.

    Raises RuntimeError as torch does when the device is not there.
    """
    generator_state = torch.random.get_rng_state()
    torch.manual_seed(seed)
    network = BlobNet(STATE_DIM, *config)
    torch.random.set_rng_state(generator_state)
    return network.to(device).eval()
